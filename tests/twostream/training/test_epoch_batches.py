"""What an epoch draws depends on (seed, epoch, video), and on nothing that ran before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from twostream.training import epoch_batches
from twostream.training.epoch_batches import load_epoch, plan_batches

OPTIONS: Any = SimpleNamespace(
    seed=5, batch_size=3, stream="spatial", num_segments=1, input_size=32, threads=2
)


def test_every_video_once_in_an_order_of_its_own_each_epoch() -> None:
    first, again, second = (plan_batches(OPTIONS, num_videos=8, epoch=e) for e in (0, 0, 1))
    assert first == again != second
    assert [len(batch) for batch in first] == [3, 3, 2]
    assert sorted(sum(first, [])) == list(range(8))


def test_an_epoch_taken_up_in_the_middle_draws_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(video: str, modality: Any, *, rng: np.random.Generator, **options: Any) -> Any:
        return rng.integers(256, size=(2, 3), dtype=np.uint8)

    monkeypatch.setattr(epoch_batches, "training_sample", sample)

    def drawn(skip: int) -> list[tuple[Any, ...]]:
        batches, count = load_epoch(OPTIONS, ["video"] * 8, epoch=2, skip=skip)
        found = [(clips.tolist(), list(i), torch.rand(1).item()) for clips, i in batches]
        assert len(found) == count
        return found

    whole = drawn(0)
    assert drawn(1) == whole[1:]
    assert len({dropout for _, _, dropout in whole}) == 3
