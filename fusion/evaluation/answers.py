"""What results say of each video: the first class, and the rank of the true one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fusion.combining.fuse import VideoScores, fused_slices
from fusion.combining.step import Step
from fusion.evaluation.metrics import known_groups, share, true_ranks


class Answers(NamedTuple):
    """What a result says of each video; its scores would be too many to keep.

    Attributes:
        first: the class with the highest score, int64 (V,).
        rank: how many classes rank before the true one, int64 (V,); see `true_ranks`.
    """

    first: np.ndarray
    rank: np.ndarray

    def accuracy(self, labels: np.ndarray, groups: Sequence[str] | None = None) -> dict[str, Any]:
        """Top-1 and top-5 as `share`, and the mean of the class accuracies in percent."""
        known = labels >= 0
        ranks, classes = self.rank[known], labels[known]
        videos = np.bincount(classes)
        hits = np.bincount(classes[ranks == 0], minlength=len(videos))
        return {
            **{f"top{k}": share(ranks < k, known_groups(groups, known)) for k in (1, 5)},
            "mean_class": 100 * float((hits[videos > 0] / videos[videos > 0]).mean()),
        }


def stream_answers(scores: np.ndarray, labels: np.ndarray) -> Answers:
    """The answers of (V, C) scores."""
    return Answers(scores.argmax(axis=1), true_ranks(scores, labels))


def fused_answers(streams: VideoScores, step: Step) -> Answers:
    """The answers of the streams fused, a few videos at a time."""
    parts = [
        stream_answers(of_part.scores, streams.labels[part])
        for part, of_part in fused_slices(streams, step)
    ]
    first, rank = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Answers(first, rank)


def mean_class_interval(
    right: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
) -> tuple[float, float]:
    """95 % interval in 0..100 of the mean class accuracy, by bootstrap of whole groups.

    Args:
        right: of the labelled videos, bool (V,). labels: their classes.
        groups: of each video, or None where each is one of its own.
    """
    number = np.arange(len(labels))
    if groups is not None:
        number = np.unique(groups, return_inverse=True)[1].ravel()
    count, classes = int(number.max()) + 1, int(labels.max()) + 1
    if count == 1:
        return 0.0, 100.0
    shape = (count, classes)
    cells, where = np.unique(number * classes + labels, return_inverse=True)
    videos = np.bincount(where.ravel())
    hits = np.bincount(where.ravel(), weights=right)
    group, of_class = np.unravel_index(cells, shape)
    averages = np.empty(resamples)
    for draw in range(resamples):
        times = np.bincount(rng.integers(count, size=count), minlength=count)[group]
        drawn = np.bincount(of_class, weights=times * videos, minlength=classes)
        found = np.bincount(of_class, weights=times * hits, minlength=classes)
        present = drawn > 0
        averages[draw] = (found[present] / drawn[present]).mean()
    low, high = np.quantile(averages, [0.025, 0.975])
    return 100 * float(low), 100 * float(high)
