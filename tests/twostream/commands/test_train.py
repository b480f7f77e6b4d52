from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from click.testing import Result

from twostream.training import learner

from ..conftest import MiniProject

Run = Callable[..., Result]


def test_out_of_memory_names_what_to_change(
    twostream: Run, mini: MiniProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(learner, "train_one_epoch", full)
    options = ["--weights", "none", "--batch-size", "64", "--device", "cpu", "--runs", "runs"]
    result = twostream("train", "--stream", "spatial", *mini.arguments, *options, exit_code=1)
    assert "cpu is out of memory with 64 videos of 3 segments at 224 pixels" in result.output
    assert "--accumulate 2 takes half as many at once" in result.output
