"""What a training would do (`train --dry-run`), and how long it takes here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

from twostream.commands.train import complete_options, train
from twostream.training import plan
from twostream.training.options import TrainOptions
from twostream_base.errors import InputError

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


FULL = (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory"))


@pytest.mark.parametrize(
    ("fixed", "of_a_video", "memory", "timed", "expected"),
    [
        (0.9, 0.1, 99, [2, 4, 8, 16], 2.5 / 16),  # the batch: a small one would say 0.55
        (0.9, 0.1, 8, [2, 4, 8, 16], 1.7 / 8),  # 16 fill the memory
        (0.9, 0.4, 99, [2, 4], 2.5 / 4),  # long enough
    ],
)
@pytest.mark.parametrize("full", FULL, ids=["a GPU", "the CPU"])
def test_a_step_of_the_whole_batch_is_timed_or_a_long_one(
    monkeypatch: pytest.MonkeyPatch,
    fixed: float,
    of_a_video: float,
    memory: int,
    timed: list[int],
    expected: float,
    full: RuntimeError,
) -> None:
    """The step alone: clips are drawn before."""
    now, tried, draw = [0.0], [], torch.randint

    def step(clips: torch.Tensor) -> None:
        tried.append(len(clips))
        if len(clips) > memory:
            raise full
        now[0] += fixed + of_a_video * len(clips)

    def slowly(*arguments: Any, **options: Any) -> torch.Tensor:
        now[0] += 100
        return draw(*arguments, **options)

    monkeypatch.setattr(plan.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(plan.torch, "randint", slowly)
    assert plan._seconds_per_video(step, (3, 1, 3, 2, 2), 16) == pytest.approx(expected)
    assert list(dict.fromkeys(tried)) == timed


@pytest.mark.parametrize("error", FULL)
def test_two_videos_that_do_not_fit_are_no_estimate(error: RuntimeError) -> None:
    def step(clips: torch.Tensor) -> None:
        raise error

    with pytest.raises(InputError) as caught:
        plan._seconds_per_video(step, (3, 1, 3, 4, 8), 16)
    for fact in ("2 videos of 3 segments", "8 pixels", "--accumulate 16", "--input-size"):
        assert fact in str(caught.value)


def test_another_error_of_a_step_is_not_hidden() -> None:
    def step(clips: torch.Tensor) -> None:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        plan._seconds_per_video(step, (1, 1, 3, 2, 2), 16)


@pytest.mark.parametrize(("accumulate", "at_once"), [(1, 6), (2, 3), (4, 2), ("auto", 6)])
def test_a_step_takes_as_many_videos_at_once_as_training(
    monkeypatch: pytest.MonkeyPatch, accumulate: int | str, at_once: int
) -> None:
    words = ["--dataset", "ucf101", "--annotations", ".", "--store", ".", "--runs", "runs",
             "--stream", "spatial", "--model", "shufflenet_v2_x0_5", "--input-size", "32",
             "--segments", "1", "--batch-size", "6", "--device", "cpu", "--weights", "none",
             "--accumulate", str(accumulate)]  # fmt: skip
    with train.make_context("train", words) as context:
        options = {k: v for k, v in context.params.items() if k in TrainOptions.__annotations__}
        settings, _ = complete_options(options)
    largest, accumulate_gradient = [], plan.accumulate_gradient

    def noted(network: Any, clips: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        parts = arguments[1]
        largest.append(len(clips.chunk(parts)[0]))
        return accumulate_gradient(network, clips, *arguments, **options)

    monkeypatch.setattr(plan, "accumulate_gradient", noted)
    estimate = plan.estimate_training(settings, num_classes=2, train=8, test=4)
    assert max(largest) == at_once
    assert estimate["seconds"] > 0
