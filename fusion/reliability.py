"""How far probabilities come true: reliability bins, calibration error, cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusion.probabilities import SMALLEST

BINS = 15


def reliability(probs: np.ndarray, labels: np.ndarray, *, bins: int = BINS) -> dict[str, Any]:
    """Compare how sure (V, C) probabilities are of their first class with how often it is right.

    `ece` is the expected calibration error (Guo et al., ICML 2017, section 2): the mean, over
    videos, of |accuracy - confidence| of their bin, in 0..1; `nll` the mean cross-entropy. `bins`
    are of equal width over 0..1, each closed above; an empty one has None. Videos without a label
    (-1) are left out; without any label, `ece` and `nll` are None.
    """
    known = labels >= 0
    probs, labels = probs[known], labels[known]
    if not len(labels):
        return {"videos": 0, "ece": None, "nll": None, "confidence": None, "bins": []}
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows = [_bin(confidence[place == b], right[place == b], b, bins) for b in range(bins)]
    filled = [row for row in rows if row["videos"]]
    gaps = [row["videos"] * abs(row["accuracy"] - row["confidence"]) for row in filled]
    true = np.take_along_axis(probs, labels[:, None], axis=1)
    return {
        "videos": len(labels),
        "ece": float(sum(gaps) / len(labels)),
        "nll": float(-np.log(np.maximum(true, SMALLEST)).mean()),
        "confidence": float(confidence.mean()),
        "bins": rows,
    }


def _bin(confidence: np.ndarray, right: np.ndarray, number: int, bins: int) -> dict[str, Any]:
    return {
        "from": number / bins,
        "to": (number + 1) / bins,
        "videos": len(right),
        "confidence": float(confidence.mean()) if len(right) else None,
        "accuracy": float(right.mean()) if len(right) else None,
    }
