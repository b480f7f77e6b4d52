"""Which frames are looked at: pure functions from a length to snippet starts.

A snippet of length L (1 RGB frame, or L flow pairs) may start at P = max(1, length - L + 1)
positions. Segments cut these positions into equal parts (TSN: Wang et al., ECCV 2016, section 3.1).

One rule for short videos, the same in training and in testing: what would lie behind the end is the
last frame (or flow pair) again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Starts = NDArray[np.int64]


def num_positions(length: int, *, snippet_length: int) -> int:
    """How many starts a snippet has in a video of `length` frames or flow pairs; at least 1."""
    if length < 1:
        raise ValueError(f"length ({length}) must be at least 1")
    return max(1, length - snippet_length + 1)


def random_in_segments(positions: int, count: int, *, rng: np.random.Generator) -> Starts:
    """One random start in each of `count` segments: the training samples of TSN.

    With fewer positions than segments some starts repeat; they never decrease.

        positions 9, count 3: one of 0 1 2, one of 3 4 5, one of 6 7 8
    """
    edges = np.arange(count + 1) * positions // count
    low = np.minimum(edges[:-1], positions - 1)
    return rng.integers(low, np.maximum(edges[1:], low + 1))


def centre_of_segments(positions: int, count: int) -> Starts:
    """The middle start of each of `count` segments.

    positions 9, count 3: 1 4 7
    """
    return (2 * np.arange(count) + 1) * positions // (2 * count)


def evenly_spaced(positions: int, count: int) -> Starts:
    """`count` starts at equal steps from the first on.

    positions 10, count 5: 0 2 4 6 8
    """
    return np.arange(count) * positions // count


SAMPLERS: dict[str, Callable[[int, int], Starts]] = {
    "centre": centre_of_segments,
    "evenly": evenly_spaced,
}


def snippet_indices(starts: Starts, *, snippet_length: int, length: int) -> NDArray[np.int64]:
    """Frame or flow indices of each snippet, (S, L), repeating the last one past the end.

    starts 0 3, snippet_length 3, length 5: [[0 1 2] [3 4 4]]
    """
    return np.minimum(starts[:, None] + np.arange(snippet_length), length - 1)
