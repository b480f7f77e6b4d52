"""Confidence interval of a word error rate, and tests between two systems, over sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twostream.sequence.word_error_rate import Errors

DRAWS = 10_000


def bootstrap_interval(
    sentences: Sequence[Errors], *, rng: np.random.Generator, draws: int = DRAWS
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the corpus rate; sentences are resampled.

    Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
    ICASSP 2004, section 3.
    """
    errors, words = _counts(sentences)
    return _bootstrap(errors, words, rng=rng, draws=draws)


def difference_interval(
    first: Sequence[Errors],
    second: Sequence[Errors],
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> tuple[float, float]:
    """95 % interval of the second corpus rate minus the first, on the same resampled sentences."""
    errors, words = _counts(first)
    difference = _counts(second)[0] - errors
    return _bootstrap(difference, words, rng=rng, draws=draws)


def paired_test(
    first: Sequence[Errors],
    second: Sequence[Errors],
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> float:
    """Two-sided p of "neither system makes more errors", both on the same sentences.

    Approximate randomisation: in each draw the two counts of every sentence are swapped at random;
    p = (1 + draws at least as unequal) / (1 + draws), so it is never 0.
    """
    difference = _counts(second)[0] - _counts(first)[0]
    difference = difference[difference != 0]
    signs = rng.integers(0, 2, size=(draws, len(difference)), dtype=np.int8) * np.int64(2) - 1
    at_least_as_unequal = np.abs(signs @ difference) >= abs(difference.sum())
    return float((1 + at_least_as_unequal.sum()) / (1 + draws))


def _counts(sentences: Sequence[Errors]) -> tuple[np.ndarray, np.ndarray]:
    errors = np.array([sentence.total for sentence in sentences], dtype=np.int64)
    return errors, np.array([sentence.words for sentence in sentences], dtype=np.int64)


def _bootstrap(
    errors: np.ndarray, words: np.ndarray, *, rng: np.random.Generator, draws: int
) -> tuple[float, float]:
    rates = []
    for _ in range(draws):
        sentences = rng.integers(0, len(words), size=len(words))
        if drawn_words := words[sentences].sum():  # empty references alone have no rate
            rates.append(errors[sentences].sum() / drawn_words)
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)
