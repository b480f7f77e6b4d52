"""`twostream predict --window`: dense score files, resumed runs, tables and drawings."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from fusion.combining.fuse import fuse
from fusion.events.event import Event
from fusion.tables.score_file import read_scores, write_scores
from twostream.cli import cli
from twostream.data import toy
from twostream.models.checkpoint import NetworkSpec, network_from_spec, save_checkpoint
from twostream.prediction import long_videos, timeline

from ..conftest import CLASSES

Command = Callable[..., Result]
OPTIONS = ["--window", "16f", "--stride", "4f", "--protocol", "segments:2", "--device", "cpu",
           "--precision", "fp32", "--batch-size", "4", "--threads", "1"]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Networks of both streams that nobody has trained, as options of `predict`."""
    folder = tmp_path_factory.mktemp("long")
    options = []
    for stream, length in (("spatial", 1), ("motion", 4)):
        spec = NetworkSpec(
            model="shufflenet_v2_x0_5", model_options={}, stream=stream, clip_length=length,
            frame_interval=1, resize=(), class_names=CLASSES, num_segments=3, consensus="mean",
            consensus_options={}, input_size=32, epoch=0, selected_on="val", flow={},
        )  # fmt: skip
        torch.manual_seed(1)
        save_checkpoint(folder / stream / "best", network_from_spec(spec), spec, {})
        options += [f"--{stream}", str(folder / stream)]
    return options


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two films of 3 and 2 actions of 24 frames each."""
    for film, actions in {"a": [0, 1, 0], "sub/b": [1, 0]}.items():
        clips = [
            toy.make_clip(CLASSES[label], rng=np.random.default_rng(seed))
            for seed, label in enumerate(actions)
        ]
        (tmp_path / "films" / film).parent.mkdir(parents=True, exist_ok=True)
        toy.write_video(tmp_path / "films" / f"{film}.avi", np.concatenate(clips))
    return tmp_path / "films"


def names(film: str, count: int, last: float) -> list[str]:
    """Windows of 16 frames every 4, of films of 25 frames a second."""
    begins = [0.16 * number for number in range(count)]
    assert round(begins[-1] + 0.64, 3) == last
    return [f"{film}@{begin:09.3f}-{begin + 0.64:09.3f}" for begin in begins]


def test_dense_files_and_tables(twostream: Command, runs: list[str], films: Path) -> None:
    result = json.loads(twostream("predict", films, *runs, *OPTIONS, "--json").stdout)
    assert [film["video"] for film in result["videos"]] == [
        str(films / "a.avi"),
        str(films / "sub/b.avi"),
    ]
    assert [(f["frames"], f["fps"], f["windows"]) for f in result["videos"]] == [
        (72, 25.0, 15),
        (48, 25.0, 9),
    ]
    tables = {key: read_scores(f"windows/{key}.safetensors") for key in ("spatial", "motion")}
    fused = read_scores("windows/fused.safetensors")
    expected = names("a", 15, 2.88) + names("sub/b", 9, 1.92)
    for table in (fused, *tables.values()):
        assert list(table.names) == expected
        assert table.groups == ("a",) * 15 + ("sub/b",) * 9
        np.testing.assert_allclose(table.times[[0, 14, 15]], [(0, 0.64), (2.24, 2.88), (0, 0.64)])
    np.testing.assert_allclose(fused.scores[:, 0, 0], fuse(tables).scores)
    assert tables["motion"].scores.shape == (24, 2, 1, 2)
    with open("windows/windows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["video"], row["start"]) for row in rows][14:16] == [
        ("a", "2.240"),
        ("sub/b", "0.000"),
    ]
    best = fused.scores[:, 0, 0].argmax(axis=1)
    assert [row["class"] for row in rows] == [CLASSES[label] for label in best]
    with open("windows/events.csv", newline="") as file:
        events = list(csv.DictReader(file))
    assert [event["label"] for event in events] == [e["label"] for e in result["events"]]
    assert not Path("windows/parts").exists()

    # Other commands read them; the same command finds them done.
    twostream("fuse", "windows/spatial.safetensors", "windows/motion.safetensors", "--out", "f")
    assert read_scores("f").times is not None
    before = {path.name: path.read_bytes() for path in Path("windows").iterdir()}
    again = json.loads(twostream("predict", films, *runs, *OPTIONS, "--json").stdout)
    assert [film["seconds"] for film in again["videos"]] == 2 * [{"decode": 0.0, "flow": 0.0}]
    assert {path.name: path.read_bytes() for path in Path("windows").iterdir()} == before


def test_an_interrupted_run_goes_on(
    twostream: Command, runs: list[str], films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the very bytes of one that was not, whatever was written when it ended."""
    monkeypatch.setattr(long_videos, "WINDOWS_PER_PART", 4)
    twostream("predict", films, *runs, *OPTIONS, "--scores", "whole")
    add, count = long_videos.PartWriter.add, [0]

    def add_some(self: Any, *args: Any) -> None:
        count[0] += 1
        if count[0] > 17:
            raise KeyboardInterrupt
        add(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(long_videos.PartWriter, "add", add_some)
        CliRunner().invoke(cli, ["predict", str(films), *runs, *OPTIONS])
    parts = sorted(str(p.relative_to("windows/parts")) for p in Path("windows").rglob("0*"))
    assert parts == [
        "a/motion/000000.safetensors",
        "a/spatial/000000.safetensors",
        "a/spatial/000001.safetensors",
    ]
    # What a process that was killed while it wrote a part has left.
    Path("windows/parts/a/spatial/.part-1").write_bytes(b"half a part")
    Path("windows/parts/a/done.json").write_text('{"marks": ')  # a disk has lost its end
    done = twostream("predict", films, *runs, *OPTIONS)
    assert "a: going on after window 4" in done.stderr
    for path in Path("whole").iterdir():
        assert (Path("windows") / path.name).read_bytes() == path.read_bytes(), path.name


def test_broken_videos_are_named(twostream: Command, runs: list[str], films: Path) -> None:
    (films / "broken.mp4").write_bytes(b"no video")
    toy.write_video(films / "c.avi", toy.make_clip(CLASSES[0], rng=np.random.default_rng(0))[:1])
    done = twostream("predict", films, *runs, *OPTIONS, exit_code=1)
    assert f"{films / 'c.avi'}: has 1 frame, so no flow" in done.output
    assert "broken.mp4" in done.output
    assert set(read_scores("windows/fused.safetensors").groups) == {"a", "sub/b"}


def test_scores_of_another_setup_are_not_replaced(
    twostream: Command, runs: list[str], films: Path
) -> None:
    one = str(films / "a.avi")
    twostream("predict", one, *runs, *OPTIONS)
    other = twostream("predict", one, *runs, *OPTIONS, "--stride", "8f", exit_code=2)
    assert "windows/spatial.safetensors" in other.output
    assert "--scores" in other.output
    with long_videos.alone_in(Path("windows")):
        busy = twostream("predict", one, *runs, *OPTIONS, exit_code=2)
    assert "windows: another" in busy.output
    # Motion scores of this setup are no reason to replace spatial ones of another.
    Path("windows/spatial.safetensors").unlink()
    before = Path("windows/motion.safetensors").read_bytes()
    other = twostream("predict", one, *runs, *OPTIONS, "--stride", "8f", exit_code=2)
    assert "windows/motion.safetensors" in other.output
    assert Path("windows/motion.safetensors").read_bytes() == before
    twostream("predict", one, *runs, *OPTIONS)
    shutil.move(films / "a.avi", films / "d.avi")
    other = twostream("predict", str(films / "d.avi"), *runs, *OPTIONS, exit_code=2)
    assert "as of a;" in other.output
    table = read_scores("windows/spatial.safetensors")
    for header in ("x", {"a": {"source": "x"}}):
        write_scores(
            "windows/spatial.safetensors",
            replace(table, metadata=table.metadata | {"films": header}),
        )
        other = twostream("predict", str(films / "d.avi"), *runs, *OPTIONS, exit_code=2)
        assert "windows/spatial.safetensors: its header" in other.output


def test_a_film_that_cannot_be_read_any_more_keeps_its_scores(
    twostream: Command, runs: list[str], films: Path
) -> None:
    twostream("predict", films, *runs, *OPTIONS)
    before = {path.name: path.read_bytes() for path in Path("windows").iterdir()}
    (films / "a.avi").write_bytes(b"no video")
    refused = twostream("predict", films, *runs, *OPTIONS, exit_code=2)
    assert f"windows: has scores of {films / 'a.avi'}, which cannot be read now" in refused.output
    kept = {name: (Path("windows") / name).read_bytes() for name in before}
    assert kept == before


def test_parts_of_films_that_are_not_given_stay(tmp_path: Path) -> None:
    """Also of a film whose name goes on where that of another ends."""
    for file in ("a/motion/000000", "a/b/motion/000000", "c/motion/000000", "a/done.json"):
        (tmp_path / "parts" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "parts" / file).touch()
    long_videos.remove_parts(tmp_path / "parts", ["a", "c"], ["motion"])
    assert [*(tmp_path / "parts").rglob("0*")] == [tmp_path / "parts/a/b/motion/000000"]
    long_videos.remove_parts(tmp_path / "parts", ["a/b"], ["motion"])
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stride", "1"], "give --window too"),
        (["--window", "1e308"], "no length of time up to 100,000,000"),
        (["--window", "1f"], "give 2 frames or more"),
        (["--window", "x"], "such as 2.5, or frames, such as 60f"),
        (["--window", "2", "--cascade", "0.5"], "--cascade"),
        (["--window", "2", "--out", "x.txt"], ".svg"),
    ],
)
def test_wrong_use(
    twostream: Command, runs: list[str], films: Path, arguments: list[str], message: str
) -> None:
    assert message in twostream("predict", films, *runs, *arguments, exit_code=2).output


def test_a_gif_of_a_long_film(
    twostream: Command, runs: list[str], films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused once the scores and events are there."""
    monkeypatch.setattr(timeline, "GIF_SECONDS", 1)
    one = str(films / "a.avi")
    refused = twostream("predict", one, *runs, *OPTIONS, "--out", "a.gif", exit_code=2)
    assert "a.gif: a GIF of " in refused.output
    assert "Give --out a name with .mp4" in refused.output
    assert Path("windows/events.csv").is_file()


def test_events_of_classes_without_a_curve_are_drawn_too() -> None:
    names = tuple(f"class{number}" for number in range(8))
    times, probs = np.array([[n, n + 1.0] for n in range(8)]), np.eye(8)
    events = [Event(float(n), n + 1.0, name) for n, name in enumerate(names)]
    film = timeline.LongPrediction(
        Path("film.mp4"), 25.0, names, times, probs, {"spatial": probs}, events
    )
    shapes = timeline.timeline(film, title="film", width=960).shapes
    assert sum(shape.kind == "bar" for shape in shapes) == 6 + 8
    assert "2 more" in [shape.text for shape in shapes]


def test_drawings(twostream: Command, runs: list[str], films: Path) -> None:
    def drawn(path: str) -> None:
        twostream("predict", films, *runs, *OPTIONS, "--out", path)

    drawn("{name}.png")
    with Image.open("b.png") as picture:
        assert picture.width == 960
        # The panels of the fusion and both streams hold the colours of both classes.
        colors = {color for _, color in picture.convert("RGB").getcolors(2**24)}
    assert {(0, 114, 178), (213, 94, 0)} <= colors
    drawn("{name}.svg")
    root = ElementTree.parse("a.svg").getroot()
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    labels = [text for text in texts if text not in ("0", "1")]
    assert labels[:6] == ["a", *CLASSES, "fused", "spatial", "motion"]
    curves = [
        e
        for e in root.iter("{http://www.w3.org/2000/svg}polyline")
        if e.get("stroke") != "rgb(225,225,225)"
    ]
    assert len([c for c in curves if len(c.get("points").split()) == 15]) == 3 * 2
    drawn("{name}.gif")
    with Image.open("b.gif") as film:
        assert (film.n_frames, film.width) == (24, 720)
