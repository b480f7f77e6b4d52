"""Logits and probabilities over classes: of score tables, of arrays, and how confident they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fusion.tables.score_file import ScoreTable, slices

SMALLEST = np.finfo(np.float64).tiny


def softmax(scores: np.ndarray) -> np.ndarray:
    """Turn logits (..., classes) of any size into probabilities."""
    powers = scores - scores.max(axis=-1, keepdims=True)
    np.exp(powers, out=powers)  # in place: score tables are large
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Turn logits (..., classes) into log-probabilities."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def as_probs(scores: np.ndarray, score_type: str) -> np.ndarray:
    """Probabilities of scores that are `logits` or `probs`."""
    return softmax(scores) if score_type == "logits" else scores


def as_log_probs(scores: np.ndarray, score_type: str) -> np.ndarray:
    """Log-probabilities; a probability of 0 counts as the smallest normal number."""
    return log_softmax(scores) if score_type == "logits" else np.log(np.maximum(scores, SMALLEST))


def spread(scores: np.ndarray) -> np.ndarray:
    """Unbiased variance over the classes; exactly 0 where all are equal.

    Of probabilities it is in 0..1/C: (Σp² - 1/C) / (C - 1).
    """
    # Rounding of the mean would give a flat member a variance of about 1e-36.
    flat = np.ptp(scores, axis=-1) == 0
    return np.where(flat, 0.0, scores.var(axis=-1, ddof=1))


def certainty(probs: np.ndarray) -> np.ndarray:
    """1 - H/ln C, with H the entropy: 0 for flat probabilities, 1 for a single peak."""
    entropy = -(probs * np.log(np.maximum(probs, SMALLEST))).sum(axis=-1)
    largest = np.log(probs.shape[-1])
    return np.where(np.ptp(probs, axis=-1) == 0, 0.0, np.maximum(0.0, 1 - entropy / largest))


def top_margin(probs: np.ndarray) -> np.ndarray:
    """The highest probability minus the second highest, in 0..1."""
    two = np.partition(probs, -2, axis=-1)[..., -2:]
    return two[..., 1] - two[..., 0]


def normalise_weights(weights: np.ndarray) -> np.ndarray:
    """Divide weights (..., n) that are 0 or more by their sum; where all are 0, they become 1/n."""
    total = weights.sum(axis=-1, keepdims=True)
    equal = np.full_like(weights, 1 / weights.shape[-1])
    return np.divide(weights, total, out=equal, where=total > 0)


def view_scores(table: ScoreTable, score_type: str) -> np.ndarray:
    """Scores of every view as `score_type`, float64 (V, S, R, C).

    A sum of logits becomes their mean.
    """
    scores = np.asarray(table.scores).astype(np.float64)
    if table.score_type == "logit_sum":
        scores /= table.metadata["summed_over"]
    return softmax(scores) if score_type == "probs" and table.score_type != "probs" else scores


def view_logits(table: ScoreTable) -> np.ndarray:
    """Logits of every view, float64 (V, S, R, C); of probabilities their logarithms."""
    if table.score_type == "probs":
        return as_log_probs(view_scores(table, "probs"), "probs")
    return view_scores(table, "logits")


def mean_logits(table: ScoreTable) -> np.ndarray:
    """Logits of each video, float64 (V, C): the mean of its views."""
    parts = (replace(table, scores=table.scores[part]) for part in slices(table.scores))
    return np.concatenate([view_logits(part).mean(axis=(1, 2)) for part in parts])
