"""What is drawn of a prediction: looked at pixel by pixel where the eye would look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flow_extract.store.reader import StoreEntry, entry_path
from flow_extract.video.decode import probe, read_frames
from twostream.prediction import annotated
from twostream.prediction.annotated import COLORS, GREY, draw_prediction
from twostream.prediction.predict import Prediction

from ..conftest import CLASSES, MiniProject

NAMES = ("Walking", "Typing on a very small keyboard in the dark", "Yo-yo")
FUSED, SPATIAL, MOTION = (0.25, 0.15, 0.6), (0.5, 0.25, 0.25), (0.0, 0.05, 0.95)
TOP = 12 + 24 + 240 + 12 + 24  # of the first bar: margin, title, pictures, margin, legend
ROW = 36
LEFT, RIGHT = 12 + 170, 516 - 12 - 60  # of the bars, beside two square pictures


@pytest.fixture
def make_prediction(mini: MiniProject) -> Any:
    """Of a video of 24 frames and 23 flow pairs, 96 x 96; of some streams."""

    def make(**streams: tuple[float, ...]) -> Prediction:
        name = f"{CLASSES[1]}/v_{CLASSES[1]}_g01_c01"
        entry = entry_path(mini.root / "store", name)
        return Prediction(
            class_names=NAMES,
            fused=np.array(FUSED if len(streams) > 1 else next(iter(streams.values()))),
            streams={key: np.array(probs) for key, probs in streams.items()},
            lead=0.0,
            entry=entry,
            header=StoreEntry(entry).header,
            seconds={},
            warnings=[],
        )

    return make


def runs_of(line: np.ndarray, color: tuple[int, ...]) -> tuple[int, int]:
    """First and last place of a colour on a line (W, 3)."""
    places = np.flatnonzero((line == color).all(axis=1))
    return int(places[0]), int(places[-1])


def test_bars_are_as_long_as_the_probabilities(make_prediction: Any, tmp_path: Path) -> None:
    draw_prediction(
        tmp_path / "p.png", make_prediction(spatial=SPATIAL, motion=MOTION), title="clip"
    )
    with Image.open(tmp_path / "p.png") as picture:
        drawn = np.asarray(picture.convert("RGB"))
    assert drawn.shape == (TOP + 3 * ROW + 12, 12 + 2 * (240 + 12), 3)
    for row, index in enumerate((2, 0, 1)):  # the most probable first
        top = TOP + row * ROW
        for depth, color, probs in zip((6, 15, 20), COLORS, (FUSED, SPATIAL, MOTION), strict=False):
            line = drawn[top + depth, LEFT:]
            assert runs_of(line, GREY)[1] == RIGHT - LEFT - 1
            if probs[index]:
                first, last = runs_of(line, color)
                assert first == 0
                assert last + 1 == pytest.approx(probs[index] * (RIGHT - LEFT), abs=0.5)
            else:
                assert not (line == color).all(axis=1).any()
    # Too long a name ends before the bars begin.
    names = drawn[TOP + 2 * ROW : TOP + 3 * ROW, :LEFT].min(axis=(0, 2)) < 128
    assert 100 < np.flatnonzero(names).max() < LEFT - 4


def test_frame_and_flow_stand_side_by_side(make_prediction: Any, tmp_path: Path) -> None:
    prediction = make_prediction(spatial=SPATIAL, motion=MOTION)
    draw_prediction(tmp_path / "p.png", prediction, title="clip")
    with Image.open(tmp_path / "p.png") as picture:
        drawn = np.asarray(picture.convert("RGB"))[36 : 36 + 240]
        frame = np.asarray(picture.crop((12, 36, 252, 276)).resize((96, 96))).astype(int)
    expected = StoreEntry(prediction.entry).read_rgb([11])[0]  # the middle one of 23
    assert np.abs(frame - expected).mean() < 4
    flow = drawn[20:180, 264 + 20 : 264 + 180].reshape(-1, 3).mean(axis=0)
    assert flow.max() - flow.min() > 40  # all of it moves to one side, in one colour
    assert (drawn[0, 264:504] == annotated.OUTLINE).all()
    assert (drawn[:, 252:264] == 255).all()


def test_one_stream_without_flow_has_one_bar_and_no_legend(
    make_prediction: Any, tmp_path: Path, mini: MiniProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoreEntry, "num_flows", 0)
    draw_prediction(tmp_path / "p.png", make_prediction(spatial=SPATIAL), title="clip", top=2)
    with Image.open(tmp_path / "p.png") as picture:
        drawn = np.asarray(picture.convert("RGB"))
    assert drawn.shape == (TOP + 2 * ROW + 12, 480, 3)
    assert (drawn[36 : 36 + 240, 12 + 240 :] == 255).all()
    assert (drawn[TOP - 22 : TOP - 1] == 255).all()
    assert (drawn[TOP + 14 : TOP + 30, LEFT:] == 255).all()


def test_films(make_prediction: Any, tmp_path: Path) -> None:
    """25 frames a second; every second one in a GIF, whose frames take much room."""
    prediction = make_prediction(motion=MOTION)
    draw_prediction(tmp_path / "p.gif", prediction, title="clip")
    with Image.open(tmp_path / "p.gif") as film:
        assert (film.n_frames, film.info["duration"], film.info["loop"]) == (12, 80, 0)
        film.seek(1)
        second = np.asarray(film.convert("RGB")).astype(int)
    draw_prediction(tmp_path / "p.mp4", prediction, title="clip")
    frames = list(read_frames(tmp_path / "p.mp4"))
    assert (len(frames), probe(tmp_path / "p.mp4").fps) == (23, 25)
    differences = [np.abs(second[:500] - frame[:500]).mean() for frame in frames]
    assert int(np.argmin(differences)) == 2
