"""`train --dry-run`: what a training would do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from twostream.training import plan

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


@pytest.mark.parametrize(
    ("fixed", "of_a_video", "memory", "timed", "expected"),
    [
        (0.9, 0.1, 99, [2, 4, 8, 16], 2.5 / 16),  # the batch: a small one would say 0.55
        (0.9, 0.1, 8, [2, 4, 8, 16], 1.7 / 8),  # 16 fill the memory
        (0.9, 0.4, 99, [2, 4], 2.5 / 4),  # long enough
    ],
)
def test_a_step_of_the_whole_batch_is_timed_or_a_long_one(
    monkeypatch: pytest.MonkeyPatch,
    fixed: float,
    of_a_video: float,
    memory: int,
    timed: list[int],
    expected: float,
) -> None:
    now, tried = [0.0], []

    def step(videos: int) -> None:
        tried.append(videos)
        if videos > memory:
            raise torch.OutOfMemoryError
        now[0] += fixed + of_a_video * videos

    monkeypatch.setattr(plan.time, "perf_counter", lambda: now[0])
    assert plan._seconds_per_video(step, 16) == pytest.approx(expected)
    assert list(dict.fromkeys(tried)) == timed
