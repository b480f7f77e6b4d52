"""A cascade: flow, the costly part, is computed only for videos of which RGB is unsure.

The first stream decides a video alone where the lead of its first class on the second, as
probabilities, is at least a threshold; else both streams are fused.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fusion.metrics import proportion
from fusion.probabilities import as_probs, lead
from twostream.errors import InputError


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
