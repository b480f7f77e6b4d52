"""A cascade: flow, the costly part, is computed only for videos of which RGB is unsure.

The first stream decides a video alone where the lead of its first class on the second, as
probabilities, is at least a threshold; else both streams are fused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fusion.combining.probabilities import as_probs, lead
from fusion.combining.video_scores import Votes
from fusion.fitting.tune import check_apart
from fusion.fitting.weight_search import search_weights
from fusion.metrics import proportion
from twostream_base.errors import InputError


class CascadeCurve(NamedTuple):
    """Accuracy against cost, from no video fused to all of them.

    Attributes:
        thresholds: rising (K,): videos whose lead is below it are fused.
        fused: videos that are fused at each threshold.
        correct: videos that are right at each threshold.
    """

    thresholds: np.ndarray
    fused: np.ndarray
    correct: np.ndarray


def first_lead(scores: np.ndarray, kind: str) -> np.ndarray:
    """How sure the first stream is of each video, (V,) in 0..1; `kind` is logits or probs."""
    return lead(as_probs(scores, kind))


def cascade_curve(
    leads: np.ndarray, first_right: np.ndarray, fused_right: np.ndarray
) -> CascadeCurve:
    """The exact curve over all thresholds, from what is known of each video: three (V,) arrays."""
    order = np.argsort(leads, kind="stable")
    sorted_leads = leads[order]
    gain = np.cumsum(fused_right[order].astype(np.int64) - first_right[order])
    correct = int(first_right.sum()) + np.concatenate([[0], gain])
    # A threshold cannot part equal leads: only where the lead changes there is a point.
    last = np.flatnonzero(np.append(sorted_leads[1:] != sorted_leads[:-1], True))
    thresholds = np.concatenate([[0.0], np.nextafter(sorted_leads[last], 2)])
    fused = np.concatenate([[0], last + 1])
    return CascadeCurve(thresholds, fused, correct[fused])


def choose_threshold(curve: CascadeCurve, *, tolerance: float = 0.0) -> float:
    """The lowest threshold that costs at most `tolerance` (0..1) of the videos against fusing all.

    Choose it on validation videos: on the test videos themselves it flatters.
    """
    allowed = curve.correct[-1] - tolerance * curve.fused[-1]
    return float(curve.thresholds[np.flatnonzero(curve.correct >= allowed)[0]])


def at_threshold(
    threshold: float, leads: np.ndarray, first_right: np.ndarray, fused_right: np.ndarray
) -> dict[str, Any]:
    """What a threshold gives on videos that had no say in it, as JSON values.

    `flow` counts the videos that need flow, `top1` those that are right; `always` and `never` those
    right when all or none are fused.
    """
    if not len(leads):
        raise InputError("no labelled videos for a cascade")
    needs = leads < threshold
    right = np.where(needs, fused_right, first_right)
    videos = len(leads)
    return {
        "threshold": threshold,
        "flow": proportion(int(needs.sum()), videos),
        "top1": proportion(int(right.sum()), videos),
        "always": proportion(int(fused_right.sum()), videos),
        "never": proportion(int(first_right.sum()), videos),
    }


# A cascade whose weights and threshold are judged on videos that had no say in them.
_SHARES = 21


class _Answers(NamedTuple):
    """What is known of each labelled video: (V,) arrays."""

    leads: np.ndarray
    first_right: np.ndarray
    fused_right: np.ndarray


def cascade_on(votes: Votes, others: Votes, *, tolerance: float) -> dict[str, Any]:
    """A cascade whose weights and threshold come from other videos; see `cascade.at_threshold`.

    The first stream decides alone where it is sure. `tolerance` in 0..1: what share of the videos
    it may cost there against fusing all. `curve` holds pairs of flow and correct counts on `votes`.

    Raises:
        InputError: not two streams, the same videos, or no labels.
    """
    check_apart(votes, others)
    weights, threshold = _fitted(votes, _known(others), others, tolerance)
    answers = _answers(votes, _known(votes), weights)
    return _result([(threshold, answers)])


def cascade_in_folds(votes: Votes, folds: np.ndarray, *, tolerance: float) -> dict[str, Any]:
    """The same in folds (V,): each one is judged by weights and threshold of the others."""
    known = _known(votes)
    judged = []
    for fold in range(int(folds.max()) + 1):
        weights, threshold = _fitted(votes, known & (folds != fold), votes, tolerance)
        judged.append((threshold, _answers(votes, known & (folds == fold), weights)))
    return _result(judged)


def _fitted(
    votes: Votes, chosen: np.ndarray, source: Votes, tolerance: float
) -> tuple[np.ndarray, float]:
    if len(votes.scores) != 2 or list(votes.scores) != list(source.scores):
        raise InputError("a cascade is of two streams: one that is cheap, then both")
    scores = [stream[chosen] for stream in source.scores.values()]
    if not len(scores[0]):
        raise InputError("no labelled videos to choose a threshold on")
    weights, _ = search_weights(scores, source.labels[chosen])
    curve = cascade_curve(*_answers(source, chosen, weights))
    return weights, choose_threshold(curve, tolerance=tolerance)


def _answers(votes: Votes, chosen: np.ndarray, weights: np.ndarray) -> _Answers:
    first, second = (stream[chosen] for stream in votes.scores.values())
    labels, fused = votes.labels[chosen], weights[0] * first + weights[1] * second
    leads = first_lead(first, votes.kind)
    return _Answers(leads, first.argmax(axis=1) == labels, fused.argmax(axis=1) == labels)


def _result(judged: Sequence[tuple[float, _Answers]]) -> dict[str, Any]:
    parts = [at_threshold(threshold, *answers) for threshold, answers in judged if len(answers[0])]
    counts = {
        key: proportion(*(sum(part[key][count] for part in parts) for count in ("correct", "of")))
        for key in ("flow", "top1", "always", "never")
    }
    columns_of_all = zip(*(answers for _, answers in judged), strict=True)
    everything = _Answers(*map(np.concatenate, columns_of_all))
    curve = cascade_curve(*everything)
    picked = np.unique(np.linspace(0, len(curve.fused) - 1, _SHARES).astype(int))
    return counts | {
        "thresholds": [part["threshold"] for part in parts],
        "curve": [[int(curve.fused[at]), int(curve.correct[at])] for at in picked],
    }


def _known(votes: Votes) -> np.ndarray:
    return votes.labels >= 0
