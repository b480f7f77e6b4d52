"""Accuracy as counts k of N, with 95 % intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from twostream_base.errors import InputError

Z_95 = 1.959964


def top_k_correct(scores: np.ndarray, labels: np.ndarray, k: int) -> int:
    """Count the videos whose true class is among the k highest scores.

    `scores` is (V, C), `labels` (V,) from 0. Of equal scores the lower class index ranks first, so
    that top-1 is argmax.
    """
    return int((true_ranks(scores, labels) < k).sum())


def true_ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes rank before the true one, int64 (V,); see `top_k_correct`.

    Of a label -1 the rank says nothing.
    """
    true = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return ((scores > true) | ((scores == true) & earlier)).sum(axis=1)


def mean_class_accuracy(scores: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """Average, over the classes that have videos, of their top-1 accuracy; and how many they are.

    `scores` is (V, C), `labels` (V,) from 0, with at least one video. The accuracy is in 0..1.
    """
    return _class_average(scores.argmax(axis=1) == labels, labels, scores.shape[1])


def wilson_interval(k: int, n: int) -> tuple[float, float]:
    """95 % interval, in 0..1, of a proportion of which k of n > 0 were seen (Wilson, 1927)."""
    share, z2 = k / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def evaluate(scores: ArrayLike, labels: ArrayLike) -> dict[str, Any]:
    """Top-1, top-5 and mean class accuracy, as JSON values.

        evaluate(fused.scores, fused.labels)["top1"]
        # {'correct': 3332, 'of': 3783, 'percent': 88.0782, 'interval': [87.0076, 89.0722]}

    Args:
        scores: (V, C), (V, S, C) or (V, S, R, C); the mean over segments and crops counts.
        labels: (V,) from 0; videos with -1 are left out and counted under `unlabelled`.

    Returns:
        `top1` and `top5`: `correct` of `of` videos, `percent`, and its 95 % Wilson `interval` in
        0..100; `mean_class`: `percent`, and of how many `classes`; `unlabelled`. Percent and
        interval are None where no video has a label.

    Raises:
        InputError: other shapes, or labels beyond the classes.
    """
    values, truth = np.asarray(scores), np.asarray(labels)
    if not 2 <= values.ndim <= 4 or truth.shape != values.shape[:1] or truth.dtype.kind not in "iu":
        raise InputError(
            f"scores {values.shape} and labels {truth.dtype} {truth.shape}; expected (videos, "
            "[segments, [crops,]] classes) and whole numbers (videos,)"
        )
    if len(truth) and not -1 <= truth.min() <= truth.max() < values.shape[-1]:
        raise InputError(
            f"labels {truth.min()}..{truth.max()}; allowed: -1..{values.shape[-1] - 1}"
        )
    views = math.prod(values.shape[1:-1])
    means = values.reshape(len(values), views, values.shape[-1]).mean(axis=1, dtype=np.float64)
    return accuracy_summary(means, truth.astype(np.int64))


def accuracy_summary(scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """What `evaluate` gives, of (V, C) scores."""
    known, classes = labels >= 0, scores.shape[1]
    ranks, labels = true_ranks(scores, labels)[known], labels[known]
    summary: dict[str, Any] = {
        f"top{k}": proportion(int((ranks < k).sum()), len(labels)) for k in (1, 5)
    }
    average, classes = _class_average(ranks == 0, labels, classes) if len(labels) else (None, 0)
    summary["mean_class"] = {"percent": _percent(average), "classes": classes}
    summary["unlabelled"] = int((~known).sum())
    return summary


def _class_average(correct: np.ndarray, labels: np.ndarray, classes: int) -> tuple[float, int]:
    videos = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels, weights=correct, minlength=classes)
    present = videos > 0
    return float((hits[present] / videos[present]).mean()), int(present.sum())


def proportion(k: int, n: int) -> dict[str, Any]:
    """k of n as JSON values: `correct`, `of`, `percent` and its Wilson `interval` in 0..100."""
    if n == 0:
        return {"correct": 0, "of": 0, "percent": None, "interval": None}
    interval = [_percent(end) for end in wilson_interval(k, n)]
    return {"correct": k, "of": n, "percent": _percent(k / n), "interval": interval}


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 4)
