"""Probabilities over classes: made from logits, and weighed by how peaked they are."""

from __future__ import annotations

import numpy as np


def softmax(scores: np.ndarray) -> np.ndarray:
    """Turn logits (..., classes) into probabilities, whatever their size."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def variance_shares(probs: np.ndarray) -> np.ndarray:
    """Weights (..., voters), of sum 1, in the ratio of the unbiased variances over the classes.

    Where all voters are flat, they weigh the same.
    """
    spread = _spread(probs)
    total = spread.sum(axis=-1, keepdims=True)
    equal = np.full_like(spread, 1 / spread.shape[-1])
    return np.divide(spread, total, out=equal, where=total > 0)


def count_fallbacks(scores: np.ndarray, *, kind: str) -> int:
    """How many times `variance_shares` of scores (..., voters, classes) meets only flat voters."""
    probs = softmax(scores) if kind == "logits" else scores
    return int((~_spread(probs).any(axis=-1)).sum())


def _spread(probs: np.ndarray) -> np.ndarray:
    # The rounding of the mean leaves a flat voter a variance of about 1e-36: not its own.
    flat = np.ptp(probs, axis=-1) == 0
    return np.where(flat, 0.0, probs.var(axis=-1, ddof=1))
