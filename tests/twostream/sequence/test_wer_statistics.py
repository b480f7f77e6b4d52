from __future__ import annotations

import itertools

import numpy as np
import pytest

from twostream.sequence.word_error_rate import (
    Errors,
    bootstrap_interval,
    difference_interval,
    paired_test,
)


def sentences(errors: list[int], words: int = 10) -> list[Errors]:
    return [Errors(count, 0, 0, words=words) for count in errors]


def test_interval_is_that_of_a_mean() -> None:
    """Sentences of one length: the corpus rate is a mean, whose interval is known."""
    rng = np.random.default_rng(0)
    errors = rng.integers(0, 9, size=400)
    low, high = bootstrap_interval(sentences(errors.tolist()), rng=rng, draws=4000)
    half = 1.96 * errors.std() / np.sqrt(400) / 10
    assert (low, high) == pytest.approx(
        (errors.mean() / 10 - half, errors.mean() / 10 + half), abs=0.003
    )


def test_a_constant_difference_is_certain() -> None:
    first, second = sentences([3, 1, 4, 1, 5]), sentences([4, 2, 5, 2, 6])
    rng = np.random.default_rng(0)
    assert difference_interval(first, second, rng=rng, draws=50) == pytest.approx((0.1, 0.1))


def test_p_is_that_of_all_sign_changes() -> None:
    first, second = [3, 1, 4, 1, 5, 9, 2], [2, 1, 2, 1, 3, 6, 3]
    difference = np.array(second) - first
    sums = [abs((difference * signs).sum()) for signs in itertools.product((1, -1), repeat=7)]
    exact = np.mean([total >= abs(difference.sum()) for total in sums])
    rng = np.random.default_rng(0)
    p = paired_test(sentences(first), sentences(second), rng=rng, draws=20_000)
    assert p == pytest.approx(exact, abs=0.01)


def test_equal_systems() -> None:
    same = sentences([1, 2, 3])
    assert paired_test(same, same, rng=np.random.default_rng(0), draws=100) == 1
