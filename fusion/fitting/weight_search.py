"""The fusion weights that get most videos right: exact for two streams, line searches for more.

With weight w on stream A and 1 - w on B, a video is right where its true class leads every other
class c: dB + w (dA - dB) > 0, with dA, dB the leads within A and B. Each c allows a half-line of w,
so that every video is right on one interval, and the sorted ends of all intervals are the accuracy
as a function of w.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from fusion.tables.progress import Progress, no_progress
from fusion.tables.score_file import slices

_STARTS = 5


class WeightCurve(NamedTuple):
    """How many videos are right at each weight 0..1 of the first of two streams.

    Attributes:
        starts: sorted (K,), the lowest weight at which each of K videos is right.
        ends: sorted (K,), the highest. Videos that no weight gets right are left out.
    """

    starts: np.ndarray
    ends: np.ndarray

    def correct(self, weights: np.ndarray) -> np.ndarray:
        """Videos that are right at each of the weights."""
        started = np.searchsorted(self.starts, weights, side="right")
        return started - np.searchsorted(self.ends, weights, side="left")

    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights at which the count changes, from 0 on, and the count from each of them on."""
        changes = np.unique(np.concatenate([[0.0], self.starts, np.nextafter(self.ends, 2)]))
        changes = changes[changes <= 1]
        return changes, self.correct(changes)

    def best(self) -> tuple[float, int]:
        """The middle of the widest stretch of weights with the most videos right, and that count.

        Of equally wide stretches the one nearest to equal weights is taken.
        """
        if not len(self.starts):
            return 0.5, 0
        counts = self.correct(self.starts)
        tops = np.unique(self.starts[counts == counts.max()])
        # Where the count is highest no video joins, so that the next end closes the stretch.
        lasts = self.ends[np.searchsorted(self.ends, tops, side="left")]
        middles, widths = (tops + lasts) / 2, (lasts - tops).round(12)
        widest = np.lexsort((abs(middles - 0.5), -widths))[0]
        return float(middles[widest]), int(counts.max())


def weight_curve(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> WeightCurve:
    """The exact curve of two streams' scores (V, C) for labels (V,) from 0.

    Of equal scores the lower class index ranks first, as in argmax.
    """
    intervals = [_intervals(first[part], second[part], labels[part]) for part in slices(first)]
    lows, highs = (np.concatenate(ends) for ends in zip(*intervals, strict=True))
    right = lows <= highs
    return WeightCurve(np.sort(lows[right]), np.sort(highs[right]))


def search_weights(
    scores: Sequence[np.ndarray], labels: np.ndarray, *, progress: Progress = no_progress
) -> tuple[np.ndarray, int]:
    """Weights (streams,) of sum 1 that get the most videos right, and how many these are.

    Two streams: exactly. More: the best points of a coarse grid of the simplex, each refined by
    exact searches along the line from the other streams' mixture to one stream, until none helps.
    """
    if len(scores) == 1:
        return np.ones(1), right_count(scores, np.ones(1), labels)
    if len(scores) == 2:
        weight, count = weight_curve(scores[0], scores[1], labels).best()
        return np.array([weight, 1 - weight]), count
    grid = np.array(list(_simplex(len(scores))))
    counts = np.empty(len(grid), dtype=np.int64)
    for number, weights in enumerate(grid):
        progress("weights", number / len(grid) / 2)
        counts[number] = right_count(scores, weights, labels)
    starts = np.lexsort((grid.max(axis=1), -counts))[:_STARTS]
    refined = []
    for number, start in enumerate(starts):
        progress("weights", 0.5 + number / len(starts) / 2)
        refined.append(_refined(scores, grid[start], int(counts[start]), labels))
    return max(refined, key=lambda pair: pair[1])


def right_count(scores: Sequence[np.ndarray], weights: np.ndarray, labels: np.ndarray) -> int:
    """How many videos the weighted sum of the streams' (V, C) scores gets right."""
    return int(right_answers(scores, weights, labels).sum())


def right_answers(
    scores: Sequence[np.ndarray], weights: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Which videos the weighted sum of the streams' (V, C) scores gets right, bool (V,)."""
    right = np.zeros(len(labels), dtype=bool)
    for part in slices(scores[0]):
        fused = sum(weight * stream[part] for weight, stream in zip(weights, scores, strict=True))
        right[part] = np.asarray(fused).argmax(axis=1) == labels[part]
    return right


def _intervals(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest weight at which each video is right; low > high where there is none."""
    true = labels[:, None]
    lead_a = np.take_along_axis(first, true, axis=1) - first
    lead_b = np.take_along_axis(second, true, axis=1) - second
    slope = lead_a - lead_b
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        bound = -lead_b / slope
    classes = np.arange(first.shape[1])
    tie_loses = classes < true  # w itself loses the tie there, the next number wins
    low = np.where(slope > 0, np.where(tie_loses, np.nextafter(bound, np.inf), bound), 0.0)
    high = np.where(slope < 0, np.where(tie_loses, np.nextafter(bound, -np.inf), bound), 1.0)
    never = (slope == 0) & ((lead_b < 0) | ((lead_b == 0) & tie_loses)) & (classes != true)
    low[never] = 2.0
    return np.maximum(low.max(axis=1), 0.0), np.minimum(high.min(axis=1), 1.0)


def _simplex(streams: int) -> Iterator[list[float]]:
    """All weights of sum 1 in steps of 1/12 (three streams) to 1/6 (many)."""
    steps = {3: 12, 4: 8}.get(streams, 6)
    for bars in combinations(range(steps + streams - 1), streams - 1):
        edges = [-1, *bars, steps + streams - 1]
        yield [(b - a - 1) / steps for a, b in zip(edges, edges[1:], strict=False)]


def _refined(
    scores: Sequence[np.ndarray], weights: np.ndarray, count: int, labels: np.ndarray
) -> tuple[np.ndarray, int]:
    improved = True
    while improved:
        improved = False
        for number, stream in enumerate(scores):
            others = np.where(np.arange(len(scores)) == number, 0, weights)
            if others.sum() == 0:
                continue
            others = others / others.sum()
            mixture = sum(w * other for w, other in zip(others, scores, strict=True))
            share, reached = weight_curve(stream, np.asarray(mixture), labels).best()
            moved = others * (1 - share)
            moved[number] = share
            if reached > count and (reached := right_count(scores, moved, labels)) > count:
                weights, count, improved = moved, reached, True
    return weights, count
