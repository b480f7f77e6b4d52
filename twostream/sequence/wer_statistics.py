"""How sure a word error rate is, and whether two systems differ: sentences are drawn again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twostream.sequence.word_error_rate import Errors

DRAWS = 10_000


def bootstrap_interval(
    sentences: Sequence[Errors], *, rng: np.random.Generator, draws: int = DRAWS
) -> tuple[float, float]:
    """95 % percentile interval of the corpus rate, sentences drawn with replacement.

    Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
    ICASSP 2004, section 3.
    """
    errors, words = _columns(sentences)
    return _interval(errors, words, rng=rng, draws=draws)


def difference_interval(
    first: Sequence[Errors],
    second: Sequence[Errors],
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> tuple[float, float]:
    """95 % interval of the second corpus rate minus the first, on the same drawn sentences."""
    errors, words = _columns(first)
    more = _columns(second)[0] - errors
    return _interval(more, words, rng=rng, draws=draws)


def paired_test(
    first: Sequence[Errors],
    second: Sequence[Errors],
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> float:
    """Two-sided p of "neither system makes more errors", both on the same sentences.

    Approximate randomisation: in each draw, every sentence's two counts change sides by a coin;
    p = (1 + draws at least as unequal) / (1 + draws), so it is never 0.
    """
    more = _columns(second)[0] - _columns(first)[0]
    more = more[more != 0]
    signs = rng.integers(0, 2, size=(draws, len(more)), dtype=np.int8) * np.int64(2) - 1
    as_unequal = np.abs(signs @ more) >= abs(more.sum())
    return float((1 + as_unequal.sum()) / (1 + draws))


def _columns(sentences: Sequence[Errors]) -> tuple[np.ndarray, np.ndarray]:
    errors = np.array([sentence.total for sentence in sentences], dtype=np.int64)
    return errors, np.array([sentence.words for sentence in sentences], dtype=np.int64)


def _interval(
    counts: np.ndarray, words: np.ndarray, *, rng: np.random.Generator, draws: int
) -> tuple[float, float]:
    drawn = (rng.integers(0, len(words), size=len(words)) for _ in range(draws))
    sums = ((counts[sentences].sum(), words[sentences].sum()) for sentences in drawn)
    # Draws of empty references alone have no rate.
    rates = [count / of for count, of in sums if of]
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)
