"""A cascade whose weights and threshold are judged on videos that had no say in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fusion.cascade import at_threshold, cascade_curve, choose_threshold, first_lead
from fusion.metrics import proportion
from fusion.result import accuracy_text, columns
from fusion.tune import check_apart
from fusion.votes import Votes
from fusion.weight_search import search_weights
from twostream.errors import InputError

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


def cascade_lines(result: Mapping[str, Any]) -> list[str]:
    """The result for people."""
    rows = [
        ("cascade", accuracy_text(result["top1"]), f"flow for {result['flow']['percent']:.1f} %"),
        ("always both", accuracy_text(result["always"]), "flow for 100 %"),
        ("first stream only", accuracy_text(result["never"]), "no flow"),
    ]
    low, high = min(result["thresholds"]), max(result["thresholds"])
    span = f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
    return ["", *columns(rows), f"flow where the first stream's lead is below {span}"]


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
