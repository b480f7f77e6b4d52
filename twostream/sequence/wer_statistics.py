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
    rates = [errors[drawn].sum() / words[drawn].sum() for drawn in _draws(len(errors), rng, draws)]
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


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
    rates = [more[drawn].sum() / words[drawn].sum() for drawn in _draws(len(more), rng, draws)]
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


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


def _draws(sentences: int, rng: np.random.Generator, draws: int) -> list[np.ndarray]:
    return [rng.integers(0, sentences, size=sentences) for _ in range(draws)]
