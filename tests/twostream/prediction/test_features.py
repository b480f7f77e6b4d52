"""`twostream features`: arrays as two readers of the field take them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from twostream.models.checkpoint import NetworkSpec, network_from_spec, save_checkpoint
from twostream.prediction.features import snippet_frames
from twostream.transforms.presets import modality_of

Command = Callable[..., Result]
FRAMES = 40


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Networks of both streams that nobody has trained, as options."""
    folder = tmp_path_factory.mktemp("features")
    options = []
    for stream, length in (("spatial", 1), ("motion", 10)):
        spec = NetworkSpec(
            model="shufflenet_v2_x0_5", model_options={}, stream=stream, clip_length=length,
            frame_interval=1, resize=(), class_names=("a", "b"), num_segments=3, consensus="mean",
            consensus_options={}, input_size=32, epoch=0, selected_on="val", flow={},
        )  # fmt: skip
        save_checkpoint(folder / stream / "best", network_from_spec(spec), spec, {})
        options += ["--run", str(folder / stream)]
    return [*options, "--device", "cpu", "--threads", "1", "--precision", "fp32"]


@pytest.fixture
def films(make_video: Callable[..., Path], tmp_path: Path) -> Path:
    for name in ("a", "sub/b"):
        make_video(tmp_path / "films" / f"{name}.avi", frames=FRAMES)
    return tmp_path / "films"


def test_one_array_a_video_and_stream(twostream: Command, runs: list[str], films: Path) -> None:
    twostream("features", films, *runs, "--out", "out")
    # A snippet of 10 flow pairs shows 11 frames: 4 windows of 11 begin every 8 of 40 frames.
    paths = {stream: Path("out", stream) for stream in ("spatial", "motion")}
    arrays = {key: np.load(path / "sub/b.npy") for key, path in paths.items()}
    for stream, array in arrays.items():
        assert (array.dtype, array.shape) == (np.float32, (4, 1024))
        assert (paths[stream] / "a.npy").exists()
    card = json.loads((paths["motion"] / "sub/b.json").read_text())
    assert {key: card[key] for key in ("fps", "frames", "feat_stride", "num_frames", "shape")} == {
        "fps": 25.0, "frames": 40, "feat_stride": 8, "num_frames": 11, "shape": [4, 1024],
    }  # fmt: skip
    assert [stream["model"] for stream in card["streams"]] == ["shufflenet_v2_x0_5"]
    assert sorted(path.name for path in Path("out").iterdir()) == ["motion", "spatial"]

    joined = json.loads(
        twostream("features", films, *runs, "--out", "j", "--joined", "--json").stdout
    )
    assert [video["shapes"] for video in joined["videos"]] == 2 * [{"joined": [4, 2048]}]
    both = np.concatenate(list(arrays.values()), axis=1)
    np.testing.assert_allclose(np.load("j/sub/b.npy"), both, atol=1e-5)


def test_a_column_for_each_frame(twostream: Command, runs: list[str], films: Path) -> None:
    """By the rules of MS-TCN's loader: (D, frames), of which it takes every n-th column."""
    layout = ["--layout", "ms-tcn", "--stride", "1", "--joined"]
    twostream("features", films / "a.avi", *runs, *layout, "--out", "out")
    loaded = np.load("out/a.npy")
    assert loaded.shape == (2048, FRAMES)
    assert torch.from_numpy(loaded[:, ::2]).shape == (2048, FRAMES // 2)


def test_what_is_done_is_left_and_what_is_broken_named(
    twostream: Command, runs: list[str], films: Path
) -> None:
    arguments = ["features", films, *runs[:2], *runs[4:], "--out", "out", "--json"]
    twostream(*arguments)
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.npy")}
    (films / "broken.avi").touch()
    Path("out/spatial/a.json").unlink()  # as if it had been interrupted
    result = json.loads(twostream(*arguments, exit_code=1).stdout)
    assert result["failed"] == {str(films / "broken.avi"): "the file is empty (0 bytes)"}
    assert [video["done_now"] for video in result["videos"]] == [True, False]
    assert before[Path("out/spatial/sub/b.npy")] == Path("out/spatial/sub/b.npy").stat().st_mtime_ns
    again = json.loads(twostream(*arguments, "--stride", "4", exit_code=1).stdout)
    assert [video["done_now"] for video in again["videos"]] == [True, True]


@pytest.mark.parametrize(
    ("stream", "length", "interval", "stack", "expected"),
    [
        ("spatial", 1, 1, 1, 1),
        ("spatial", 32, 2, 1, 63),
        ("motion", 10, 1, 1, 11),
        ("motion", 40, 2, 5, 20),  # 8 stacks of 5 pairs, 2 apart: pairs 0 to 18
        ("difference", 6, 1, 1, 6),
    ],
)
def test_frames_of_a_snippet(
    stream: str, length: int, interval: int, stack: int, expected: int
) -> None:
    modality = modality_of(stream, clip_length=length, frame_interval=interval, stack=stack)
    assert snippet_frames(modality) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--run"),
        (["--run", "{motion}", "--window", "5"], "has 11 frames"),
        (["--run", "{motion}", "--joined"], "give two"),
        (["--run", "{motion}", "--run", "{motion}"], "two networks of the motion stream"),
    ],
)
def test_wrong_use(
    twostream: Command, runs: list[str], films: Path, arguments: list[str], message: str
) -> None:
    texts = [text.replace("{motion}", runs[3]) for text in arguments]
    done = twostream("features", films, *texts, "--out", "out", "--device", "cpu", exit_code=2)
    assert message in done.output
