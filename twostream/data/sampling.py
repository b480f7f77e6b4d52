"""Which frames are looked at: pure functions from a length to snippet starts.

A snippet of length L (1 RGB frame, or L flow pairs) may start at P = max(1, length - L + 1)
positions; with an interval k from frame to frame, at max(1, length - (L - 1) k) of them. Spread
over the whole video, it may start anywhere in the first of L equal parts. Segments cut these
positions into equal parts (TSN: Wang et al., ECCV 2016, section 3.1).

One rule for short videos, the same in training and in testing: what would lie behind the end is the
last frame (or flow pair) again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator


SPREAD = 0  # an interval: as long as the video allows


def num_positions(length: int, *, snippet_length: int, interval: int = 1) -> int:
    """How many starts a snippet has in a video of `length` frames or flow pairs; at least 1."""
    if length < 1:
        raise ValueError(f"length ({length}) must be at least 1")
    if interval == SPREAD:
        return max(1, length // snippet_length)
    return max(1, length - (snippet_length - 1) * interval)


def random_in_segments(positions: int, count: int, *, rng: Generator) -> list[int]:
    """One random start in each of `count` segments: the training samples of TSN.

    With fewer positions than segments some starts repeat; they never decrease.

        positions 9, count 3: one of 0 1 2, one of 3 4 5, one of 6 7 8
    """
    edges = [i * positions // count for i in range(count + 1)]
    return [
        int(rng.integers(low, max(high, low + 1)))
        for low, high in zip(edges, edges[1:], strict=False)
    ]


def centre_of_segments(positions: int, count: int) -> list[int]:
    """The middle start of each of `count` segments.

    positions 9, count 3: 1 4 7
    """
    return [(2 * i + 1) * positions // (2 * count) for i in range(count)]


def start_and_centre_of_segments(positions: int, count: int) -> list[int]:
    """The first and the middle start of each of `count` / 2 segments ("twice" sampling).

    positions 9, count 2: 0 4
    """
    half = count // 2
    starts = [i * positions // half for i in range(half)]
    return sorted(starts + centre_of_segments(positions, half))


def evenly_spaced(positions: int, count: int) -> list[int]:
    """`count` starts at equal steps from the first on.

    positions 10, count 5: 0 2 4 6 8
    """
    return [i * positions // count for i in range(count)]


def snippet_indices(
    starts: Sequence[int], *, snippet_length: int, length: int, interval: int = 1
) -> list[list[int]]:
    """Frame or flow indices of each snippet, repeating the last one past the end.

    starts 0 3, snippet_length 3, length 5: [[0 1 2] [3 4 4]]
    start 1, snippet_length 3, interval 2, length 9: [[1 3 5]]
    starts 0 2, snippet_length 3, interval SPREAD, length 9: [[0 3 6] [2 5 8]]
    """
    steps = [
        t * length // snippet_length if interval == SPREAD else t * interval
        for t in range(snippet_length)
    ]
    return [[min(start + step, length - 1) for step in steps] for start in starts]
