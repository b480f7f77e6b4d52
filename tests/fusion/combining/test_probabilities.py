from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fusion.combining.fuse import apply_step
from fusion.combining.probabilities import (
    as_log_probs,
    certainty,
    log_softmax,
    normalise_weights,
    softmax,
    spread,
    top_margin,
)
from fusion.combining.step import make_step

ROWS = np.array([[-1.3063, 1.4182, -0.3061, 0.2], [0.5, -0.25, 1.75, 0.0], [0.1, 0.1, -0.4, 0.9]])
LOGITS = arrays(np.float64, (3, 5), elements=st.floats(-700, 700))


def variance_shares(probs: np.ndarray) -> np.ndarray:
    return normalise_weights(spread(probs))


@given(scores=LOGITS, shift=st.floats(-1e3, 1e3))
def test_softmax_ignores_a_constant_and_sums_to_1(scores: np.ndarray, shift: float) -> None:
    probs = softmax(scores)
    np.testing.assert_allclose(probs.sum(axis=-1), 1)
    np.testing.assert_allclose(softmax(scores + shift), probs, atol=1e-9)


def test_softmax_of_logarithms_is_the_numbers_themselves() -> None:
    np.testing.assert_allclose(softmax(np.log([0.5, 0.3, 0.2]) + 1000), [0.5, 0.3, 0.2])


def test_shares_of_the_golden_rows() -> None:
    np.testing.assert_allclose(variance_shares(softmax(ROWS)), [0.4651, 0.4030, 0.1319], atol=5e-5)


@given(scores=LOGITS)
def test_shares_sum_to_1(scores: np.ndarray) -> None:
    shares = variance_shares(softmax(scores))
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(("peak", "variance"), [(0.1, 8.2e-5), (0.5, 0.002426), (0.9, 0.008002)])
def test_share_of_one_peak_among_101_classes(peak: float, variance: float) -> None:
    one = np.array([peak] + [(1 - peak) / 100] * 100)
    certain = np.eye(101)[0]  # variance 1/101, the highest there is
    expected = variance / (variance + 1 / 101)
    assert variance_shares(np.stack([one, certain]))[0] == pytest.approx(expected, rel=1e-3)


def test_flat_members_weigh_the_same_and_are_counted() -> None:
    flat = np.full((2, 101), 0.3)
    one_flat = np.stack([np.linspace(0, 1, 101), np.full(101, 7.0)])
    videos = np.stack([flat, one_flat, flat])
    assert variance_shares(softmax(videos)).tolist() == [[0.5, 0.5], [1, 0], [0.5, 0.5]]
    step = make_step("variance")
    assert apply_step(videos, step, score_type="logits").fallbacks == 2
    assert apply_step(softmax(videos), step, score_type="probs").fallbacks == 2


@given(scores=LOGITS)
def test_logarithms_of_the_softmax(scores: np.ndarray) -> None:
    np.testing.assert_allclose(np.exp(log_softmax(scores)), softmax(scores), atol=1e-15)
    np.testing.assert_array_equal(as_log_probs(scores, "logits"), log_softmax(scores))
    assert np.isfinite(as_log_probs(softmax(scores), "probs")).all()


def test_measures_of_confidence() -> None:
    probs = np.array([[0.25] * 4, [1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.7, 0.1, 0.1, 0.1]])
    np.testing.assert_allclose(certainty(probs), [0, 1, 0.5, 0.3216], atol=5e-5)
    np.testing.assert_allclose(top_margin(probs), [0, 1, 0, 0.6])
    np.testing.assert_allclose(spread(probs), [0, 0.25, 1 / 12, 0.09])
