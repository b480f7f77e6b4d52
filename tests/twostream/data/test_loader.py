from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from twostream.data.loader import BATCHES_AHEAD, load_batches, split_into_batches


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (6, 3, [[0, 1, 2], [3, 4, 5]]),
        (7, 3, [[0, 1, 2], [3, 4, 5, 6]]),
        (8, 3, [[0, 1, 2], [3, 4, 5], [6, 7]]),
        (1, 3, [[0]]),
        (3, 1, [[0], [1, 2]]),
    ],
)
def test_split_into_batches(count: int, size: int, expected: list[list[int]]) -> None:
    assert split_into_batches(range(count), batch_size=size) == expected


def write_slowly(index: int, out: np.ndarray) -> None:
    time.sleep(0.001 * (index % 3))
    out[...] = index


def load(batches: list[list[int]], *, threads: int = 2, **options: Any) -> Iterator[Any]:
    return load_batches(write_slowly, batches, shape=(2, 3), threads=threads, **options)


@pytest.mark.parametrize("threads", [1, 4])
def test_order_does_not_depend_on_threads(threads: int) -> None:
    batches = [[5, 1], [2, 4, 3], [0], [7], [8, 9, 6], [1, 2]]
    for (clips, indices), batch in zip(load(batches, threads=threads), batches, strict=True):
        assert indices == batch
        assert (clips.shape, clips.dtype) == ((len(batch), 2, 3), torch.uint8)
        assert clips[:, 0, 0].tolist() == batch


def test_no_batches() -> None:
    assert list(load([])) == []


def test_a_batch_is_not_written_while_it_is_in_use() -> None:
    """However long that takes; and the two ahead are then ready."""
    written: list[int] = []

    def write(index: int, out: np.ndarray) -> None:
        out[...] = index
        written.append(index)

    batches = [[number] for number in range(12)]
    loaded = load_batches(write, batches, shape=(4,), threads=4)
    for clips, (index,) in loaded:
        until = time.monotonic() + 5
        while len(written) < min(12, index + 1 + BATCHES_AHEAD) and time.monotonic() < until:
            time.sleep(0.001)
        assert clips.tolist() == [[index] * 4]
        assert sorted(written) == list(range(min(12, index + 1 + BATCHES_AHEAD)))


def test_memory_is_written_again() -> None:
    """Three buffers serve all batches: who keeps one must copy it."""
    kept = [clips for clips, _ in load([[number] for number in range(9)])]
    assert len({clips.data_ptr() for clips in kept}) == BATCHES_AHEAD + 1
    assert {int(clips.max()) for clips in kept} == {6, 7, 8}


def test_copies_to_a_gpu_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen without one: pinned memory is asked for, and the stream is waited for each time."""
    waits: list[object] = []
    stream = SimpleNamespace(synchronize=lambda: waits.append(None))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    empty, pinned = torch.empty, []

    def unpinned(*args: Any, pin_memory: bool, **options: Any) -> torch.Tensor:
        pinned.append(pin_memory)
        return empty(*args, **options)

    monkeypatch.setattr(torch, "empty", unpinned)
    loaded = load([[number] for number in range(5)], device=torch.device("cuda"))
    assert [int(clips[0, 0, 0]) for clips, _ in loaded] == [0, 1, 2, 3, 4]
    assert pinned == [True] * 3
    assert len(waits) == 5


def test_an_error_in_a_sample_reaches_the_caller() -> None:
    def write(index: int, out: np.ndarray) -> None:
        raise ValueError(f"sample {index} is broken")

    with pytest.raises(ValueError, match="sample 3 is broken"):
        list(load_batches(write, [[3]], shape=(2,), threads=2))


def test_leaving_early_stops_the_threads() -> None:
    running = load([[i] for i in range(100)])
    next(running)
    running.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]
