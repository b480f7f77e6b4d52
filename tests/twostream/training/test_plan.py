"""`train --dry-run`: what a training would do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from ..conftest import MiniProject

OPTIONS = ["--stream", "motion", "--val-fraction", "0.3", "--device", "cpu", "--precision", "fp32",
           "--protocol", "segments:8x3", "--batch-size", "5", "--dry-run"]  # fmt: skip
# 12 training videos, of which four are held out, and four test videos: 12 - 4 = 5 + 3.
LINES = """
snippet: 10 flow pairs
network: resnet18, 2 classes, 11,230,850 parameters
input: 5 x 3 x 10 x 2 x 224 x 224 bytes: videos, segments, frames or pairs, channels, height, width
training: 8 videos, 2 steps an epoch of 5 videos, the last of 3
validation on val: 4 videos, segments3: the centre of each of 3 segments, centre crop
    12 clips, 12 views of 10 x 2 x 224 x 224: 3 batches of 5
scores of val: 4 videos, segments:8x3: the centre of each of 8 segments, three crops of 256
    32 clips, 96 views of 10 x 2 x 256 x 256: 20 batches of 5
scores of test: 4 videos, segments:8x3: the centre of each of 8 segments, three crops of 256
    32 clips, 96 views of 10 x 2 x 256 x 256: 20 batches of 5
""".strip().splitlines()


def test_a_plan_of_the_videos_in_the_store(
    twostream: Callable[..., Result], mini: MiniProject, tmp_path: Path
) -> None:
    lines = twostream("train", *mini.arguments, "--runs", "runs", *OPTIONS).output.splitlines()
    assert lines[0] == "==> runs/ucf101-split1/motion-resnet18"
    assert {'model = "resnet18"', "batch-size = 5", "jitter = []", "lr = 0.01"} <= set(lines)
    assert lines[-len(LINES) - 1 : -1] == LINES
    assert "nothing was trained or written" in lines[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_the_lists_alone(
    twostream: Callable[..., Result], mini: MiniProject, tmp_path: Path
) -> None:
    data = [*mini.arguments[:4], "--store", "gone", "--runs", "runs", *OPTIONS]
    lines = twostream("train", *data).output.splitlines()
    assert lines[-len(LINES) - 2 : -2] == LINES
    assert lines[-2] == "gone is not there: these are the videos of the lists"
    result = json.loads(
        twostream(
            "train", *data, "--json", "--class-weights", "balanced", "--train-segment", "2"
        ).output
    )
    assert result["class_weights"] == [1, 1]
    assert result["validation"]["protocol"] == "segments3,segment=2of3"
    assert result["input_shape"] == [5, 1, 10, 2, 224, 224]
    assert list(tmp_path.iterdir()) == []
    wrong = twostream("train", *mini.arguments[:4], *data[4:-1], exit_code=2)  # no --dry-run
    assert "gone" in wrong.stderr
