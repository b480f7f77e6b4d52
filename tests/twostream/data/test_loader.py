from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from twostream.data.loader import load_batches, split_into_batches


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


def slow_sample(index: int) -> np.ndarray:
    time.sleep(0.001 * (index % 3))
    return np.full((2, 3), index, dtype=np.uint8)


@pytest.mark.parametrize("threads", [1, 4])
def test_order_does_not_depend_on_threads(threads: int) -> None:
    batches = [[5, 1], [2, 4, 3], [0]]
    loaded = list(load_batches(slow_sample, batches, threads=threads))
    assert [indices for _, indices in loaded] == batches
    assert [clips[:, 0, 0].tolist() for clips, _ in loaded] == batches


def test_an_error_in_a_sample_reaches_the_caller() -> None:
    def load(index: int) -> np.ndarray:
        raise ValueError(f"sample {index} is broken")

    with pytest.raises(ValueError, match="sample 3 is broken"):
        list(load_batches(load, [[3]], threads=2))


def test_leaving_early_stops_the_threads() -> None:
    batches = [[i] for i in range(100)]
    running = load_batches(slow_sample, batches, threads=2)
    next(running)
    running.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]
