"""Probabilities over classes: made from logits, and how sure a voter is by them."""

from __future__ import annotations

import numpy as np

SMALLEST = np.finfo(np.float64).tiny


def softmax(scores: np.ndarray) -> np.ndarray:
    """Turn logits (..., classes) into probabilities, whatever their size."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Turn logits (..., classes) into the logarithms of probabilities."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def as_probs(scores: np.ndarray, kind: str) -> np.ndarray:
    """Probabilities of scores whose `kind` is `logits` or `probs`."""
    return softmax(scores) if kind == "logits" else scores


def as_log_probs(scores: np.ndarray, kind: str) -> np.ndarray:
    """Logarithms of probabilities; a probability of 0 counts as the smallest normal number."""
    return log_softmax(scores) if kind == "logits" else np.log(np.maximum(scores, SMALLEST))


def spread(scores: np.ndarray) -> np.ndarray:
    """Unbiased variance over the classes; exactly 0 where all are equal.

    Of probabilities it lies in 0..1/C: (Σp² - 1/C) / (C - 1).
    """
    # The rounding of the mean leaves a flat voter a variance of about 1e-36: not its own.
    flat = np.ptp(scores, axis=-1) == 0
    return np.where(flat, 0.0, scores.var(axis=-1, ddof=1))


def certainty(probs: np.ndarray) -> np.ndarray:
    """1 less the entropy over its largest value ln C: 0 for flat probabilities, 1 for one peak."""
    entropy = -(probs * np.log(np.maximum(probs, SMALLEST))).sum(axis=-1)
    largest = np.log(probs.shape[-1])
    return np.where(np.ptp(probs, axis=-1) == 0, 0.0, np.maximum(0.0, 1 - entropy / largest))


def lead(probs: np.ndarray) -> np.ndarray:
    """The highest probability less the second highest, in 0..1."""
    two = np.partition(probs, -2, axis=-1)[..., -2:]
    return two[..., 1] - two[..., 0]


def shares(confidence: np.ndarray) -> np.ndarray:
    """Weights (..., voters), of sum 1, in the ratio of a confidence that is 0 or more.

    Where all voters have none, they weigh the same.
    """
    total = confidence.sum(axis=-1, keepdims=True)
    equal = np.full_like(confidence, 1 / confidence.shape[-1])
    return np.divide(confidence, total, out=equal, where=total > 0)
