"""Calibration: logits of one stream become those whose probabilities come true.

A temperature T (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2)
divides all logits of a stream; vector scaling gives each class a factor and an offset. Two streams
that are calibrated are equally loud, so that their plain mean is a fair fusion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fusion.combining.probabilities import SMALLEST, log_softmax, softmax
from twostream_base.errors import InputError

_STEPS = 50


class Scaling(NamedTuple):
    """Calibrated logits are `factor * logits + offset`; both (C,), or (1,) for all classes."""

    factor: np.ndarray
    offset: np.ndarray

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Calibrate logits (..., C)."""
        return logits * self.factor + self.offset


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T > 0 at which softmax(logits / T) of (V, C) logits has the least cross-entropy.

    The loss is convex in 1/T; Newton's steps, kept between the bounds found so far. Of n videos the
    true class counts 1 - 1/(n + 2), as if a video were in doubt (Platt, 1999, section 2.2), so that
    T stays above 0 where all are right. Worse than chance, it stops at 1000 times their spread.

    Raises:
        InputError: no videos.
    """
    _check(logits, labels)
    spread = float(logits.std()) or 1.0
    scaled = logits / spread
    doubt = 1 / (len(labels) + 2)
    true = np.take_along_axis(scaled, labels[:, None], axis=1)[:, 0]
    true = (1 - doubt) * true + doubt * scaled.mean(axis=1)
    low, high, inverse = 1e-3, 1e3, 1.0
    for _ in range(_STEPS):
        slope, curvature = _derivatives(scaled, true, inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / curvature if curvature > 0 else 0.0
        proposed = step if low < step < high else np.sqrt(low * high)
        if abs(proposed - inverse) <= 1e-9 * inverse:
            break
        inverse = float(proposed)
    return spread / inverse


def temperature(logits: np.ndarray, labels: np.ndarray) -> Scaling:
    """One temperature for all classes: see `fit_temperature`."""
    return Scaling(np.array([1 / fit_temperature(logits, labels)]), np.zeros(1))


def vector(logits: np.ndarray, labels: np.ndarray, *, strength: float = 100.0) -> Scaling:
    """A factor and an offset for each class, least cross-entropy on (V, C) logits.

    It starts from the temperature and is drawn towards it: `strength` is how many videos the
    penalty outweighs (a squared change of every class by 1).

    Raises:
        InputError: no videos.
    """
    from scipy.optimize import minimize

    start = temperature(logits, labels).factor[0]
    scaled, classes = logits * start, logits.shape[1]
    true = np.eye(classes)[labels]

    def loss(change: np.ndarray) -> tuple[float, np.ndarray]:
        factor, offset = change.reshape(2, classes)
        log_probs = log_softmax(scaled * (1 + factor) + offset)
        error = np.exp(log_probs) - true
        slope = np.concatenate([(error * scaled).sum(axis=0), error.sum(axis=0)])
        return strength * change @ change - (log_probs * true).sum(), slope + 2 * strength * change

    change = minimize(loss, np.zeros(2 * classes), jac=True, method="L-BFGS-B").x
    factor, offset = change.reshape(2, classes)
    return Scaling(start * (1 + factor), offset)


CALIBRATIONS: dict[str, Callable[[np.ndarray, np.ndarray], Scaling]] = {
    "temperature": temperature,
    "vector": vector,
}


def cross_fitted(
    logits: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    fit: Callable[[np.ndarray, np.ndarray], Scaling] = temperature,
) -> list[Scaling]:
    """The scaling for the videos of each fold, fitted on the labelled videos of all others."""
    return [
        fit(logits[(folds != fold) & (labels >= 0)], labels[(folds != fold) & (labels >= 0)])
        for fold in range(int(folds.max()) + 1)
    ]


def _derivatives(logits: np.ndarray, true: np.ndarray, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean cross-entropy by 1/T."""
    probs = softmax(inverse * logits)
    expected = (probs * logits).sum(axis=1)
    variance = (probs * logits**2).sum(axis=1) - expected**2
    return float((expected - true).mean()), float(variance.mean())


def _check(logits: np.ndarray, labels: np.ndarray) -> None:
    if not len(labels):
        raise InputError("no labelled videos to calibrate on")
    assert logits.ndim == 2
    assert labels.min() >= 0


# How far probabilities come true: reliability bins, calibration error, cross-entropy.
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
