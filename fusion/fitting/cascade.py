"""A cascade: flow, the costly part, is computed only for videos of which RGB is not confident.

The first stream decides a video alone where the margin of its first class over the second, as
probabilities, is at least a threshold; else both streams are fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fusion.combining.fuse import VideoScores
from fusion.combining.probabilities import as_probs, top_margin
from fusion.evaluation.metrics import proportion
from fusion.fitting.tune import check_apart
from fusion.fitting.weight_search import search_weights
from twostream_base.errors import InputError

_CURVE_POINTS = 21


class CascadeCurve(NamedTuple):
    """Accuracy against cost, from no video fused to all of them.

    Attributes:
        thresholds: rising (K,): videos whose margin is below it are fused.
        fused: videos that are fused at each threshold.
        correct: videos that are right at each threshold.
    """

    thresholds: np.ndarray
    fused: np.ndarray
    correct: np.ndarray


def confidence_margin(scores: np.ndarray, score_type: str) -> np.ndarray:
    """The margin of the first class over the second, as probabilities: (V,) in 0..1."""
    return top_margin(as_probs(scores, score_type))


def cascade_curve(
    margins: np.ndarray, first_right: np.ndarray, fused_right: np.ndarray
) -> CascadeCurve:
    """The exact curve over all thresholds, from what is known of each video: three (V,) arrays."""
    order = np.argsort(margins, kind="stable")
    sorted_margins = margins[order]
    gain = np.cumsum(fused_right[order].astype(np.int64) - first_right[order])
    correct = int(first_right.sum()) + np.concatenate([[0], gain])
    # A threshold cannot separate equal margins: there is a point only where the margin changes.
    last = np.flatnonzero(np.append(sorted_margins[1:] != sorted_margins[:-1], True))
    thresholds = np.concatenate([[0.0], np.nextafter(sorted_margins[last], 2)])
    fused = np.concatenate([[0], last + 1])
    return CascadeCurve(thresholds, fused, correct[fused])


def choose_threshold(curve: CascadeCurve, *, tolerance: float = 0.0) -> float:
    """The lowest threshold that costs at most `tolerance` (0..1) of the videos against fusing all.

    Choose it on validation videos: on the test videos themselves it is optimistic.
    """
    allowed = curve.correct[-1] - tolerance * curve.fused[-1]
    return float(curve.thresholds[np.flatnonzero(curve.correct >= allowed)[0]])


def at_threshold(
    threshold: float, margins: np.ndarray, first_right: np.ndarray, fused_right: np.ndarray
) -> dict[str, Any]:
    """Evaluate a threshold on videos that were not used to choose it, as JSON values.

    `flow` counts the videos that need flow, `top1` those that are right; `always` and `never` those
    right when all or none are fused.
    """
    if not len(margins):
        raise InputError("no labelled videos for a cascade")
    needs = margins < threshold
    right = np.where(needs, fused_right, first_right)
    videos = len(margins)
    return {
        "threshold": threshold,
        "flow": proportion(int(needs.sum()), videos),
        "top1": proportion(int(right.sum()), videos),
        "always": proportion(int(fused_right.sum()), videos),
        "never": proportion(int(first_right.sum()), videos),
    }


class _Answers(NamedTuple):
    """What is known of each labelled video: (V,) arrays."""

    margins: np.ndarray
    first_right: np.ndarray
    fused_right: np.ndarray


def cascade_on(streams: VideoScores, others: VideoScores, *, tolerance: float) -> dict[str, Any]:
    """Evaluate a cascade whose weights and threshold come from other videos.

    Args:
        tolerance: in 0..1: the share of the other videos that the cascade may lose against fusing
            all of them.

    Returns:
        See `at_threshold`; `curve` holds pairs of flow and correct counts on `streams`.

    Raises:
        InputError: not two streams, the same videos, or no labels.
    """
    check_apart(streams, others)
    weights, threshold = _fit(others, others.labels >= 0, tolerance)
    if list(streams.scores) != list(others.scores):
        raise InputError("the validation scores are of other streams")
    return _summary([(threshold, _answers(streams, streams.labels >= 0, weights))])


def cascade_in_folds(
    streams: VideoScores, folds: np.ndarray, *, tolerance: float
) -> dict[str, Any]:
    """The same in folds (V,): each is evaluated with the weights and threshold of the others."""
    known = streams.labels >= 0
    by_fold = []
    for fold in range(int(folds.max()) + 1):
        weights, threshold = _fit(streams, known & (folds != fold), tolerance)
        by_fold.append((threshold, _answers(streams, known & (folds == fold), weights)))
    return _summary(by_fold)


def _fit(streams: VideoScores, rows: np.ndarray, tolerance: float) -> tuple[np.ndarray, float]:
    if len(streams.scores) != 2:
        raise InputError("a cascade needs two streams: one that is cheap, then both")
    scores = [stream[rows] for stream in streams.scores.values()]
    if not len(scores[0]):
        raise InputError("no labelled videos to choose a threshold on")
    weights, _ = search_weights(scores, streams.labels[rows])
    curve = cascade_curve(*_answers(streams, rows, weights))
    return weights, choose_threshold(curve, tolerance=tolerance)


def _answers(streams: VideoScores, rows: np.ndarray, weights: np.ndarray) -> _Answers:
    first, second = (stream[rows] for stream in streams.scores.values())
    labels, fused = streams.labels[rows], weights[0] * first + weights[1] * second
    margins = confidence_margin(first, streams.score_type)
    return _Answers(margins, first.argmax(axis=1) == labels, fused.argmax(axis=1) == labels)


def _summary(by_fold: Sequence[tuple[float, _Answers]]) -> dict[str, Any]:
    parts = [at_threshold(threshold, *answers) for threshold, answers in by_fold if len(answers[0])]
    counts = {
        key: proportion(*(sum(part[key][count] for part in parts) for count in ("correct", "of")))
        for key in ("flow", "top1", "always", "never")
    }
    of_all_folds = zip(*(answers for _, answers in by_fold), strict=True)
    curve = cascade_curve(*_Answers(*map(np.concatenate, of_all_folds)))
    points = np.unique(np.linspace(0, len(curve.fused) - 1, _CURVE_POINTS).astype(int))
    return counts | {
        "thresholds": [part["threshold"] for part in parts],
        "curve": [[int(curve.fused[at]), int(curve.correct[at])] for at in points],
    }
