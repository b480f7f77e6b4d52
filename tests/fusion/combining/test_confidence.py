from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fusion.combining.confidence import (
    VARIANCE_FORMS,
    count_fallbacks,
    entropy,
    margin,
    variance,
)
from fusion.combining.probabilities import softmax
from twostream_base.errors import InputError

ROWS = np.array([[-1.3063, 1.4182, -0.3061, 0.2], [0.5, -0.25, 1.75, 0.0], [0.1, 0.1, -0.4, 0.9]])
# The matrix of the lab notes that the variance fusion comes from (first three rows).
NOTES = np.array([
    [-1.2738, -0.3058, 0.1230, -1.9615],
    [0.8771, -0.5430, -0.9233, 0.9879],
    [1.4107, 0.0317, -0.6823, 0.2255],
])  # fmt: skip


def legacy(scores: np.ndarray, **switches: object) -> np.ndarray:
    return variance(scores, **VARIANCE_FORMS["legacy"] | switches)


def logits(min_voters: int = 1, largest: float = 50.0) -> st.SearchStrategy[np.ndarray]:
    """(voters, classes)"""
    shapes = st.tuples(st.integers(min_voters, 5), st.integers(2, 8))
    return shapes.flatmap(lambda s: arrays(np.float64, s, elements=st.floats(-largest, largest)))


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({}, [0.7705, -0.7634, -1.2841, -0.6281]),
        ({"normalise": "sum"}, [0.2973, -0.2945, -0.4954, -0.2424]),
        ({"normalise": "softmax"}, [0.3055, -0.2912, -0.4961, -0.2410]),
        ({"top": 3}, [0.7732, -0.5346, -0.9902, -0.1586]),
        ({"top": 4}, [0.7705, -0.7634, -1.2841, -0.6281]),
        (VARIANCE_FORMS["normalised"], [0.3982, 0.1845, 0.1945, 0.2228]),
    ],
)
def test_the_family_on_the_matrix_of_the_notes(switches: dict, expected: list[float]) -> None:
    np.testing.assert_allclose(legacy(NOTES, **switches), expected, atol=6e-5)


def test_weights_of_probabilities_may_multiply_logits_and_the_other_way_round() -> None:
    weights = np.array([0.2933, 0.2923, 0.4143])
    mixed = variance(NOTES, combine="scores")
    np.testing.assert_allclose(mixed, weights @ NOTES, atol=2e-4)
    loud = np.array([0.8859, 0.9509, 0.7549])
    expected = loud @ softmax(NOTES) / loud.sum()
    for normalise in ("sum", "none"):  # probabilities sum to 1 in either form
        fused = variance(NOTES, on="scores", normalise=normalise)
        np.testing.assert_allclose(fused, expected, atol=2e-5)


@given(scores=logits(min_voters=2, largest=20), scale=st.floats(0.5, 2))
def test_entropy_and_margin_follow_the_surest_voter(scores: np.ndarray, scale: float) -> None:
    peak = np.zeros_like(scores)
    peak[0, 1] = 700 * scale
    for strategy in (entropy, margin):
        np.testing.assert_allclose(strategy(peak), np.eye(scores.shape[1])[1], atol=1e-12)
        np.testing.assert_allclose(strategy(softmax(scores), kind="probs"), strategy(scores))


@given(scores=logits(min_voters=2, largest=5.0), shift=st.floats(-10, 10))
def test_normalised_variance_ignores_a_constant(scores: np.ndarray, shift: float) -> None:
    fused = variance(scores)
    np.testing.assert_allclose(fused.sum(), 1)
    if not count_fallbacks(scores, kind="logits") and softmax(scores).var(axis=-1).sum() > 1e-9:
        np.testing.assert_allclose(variance(scores + shift), fused, atol=1e-6)


@given(scores=logits(), scale=st.floats(0.1, 3))
def test_legacy_variance_grows_with_the_cube_of_the_scale(scores: np.ndarray, scale: float) -> None:
    expected = scale**3 * legacy(scores)
    np.testing.assert_allclose(legacy(scale * scores), expected, atol=1e-6)


def test_a_voter_twice_as_loud_gets_two_thirds_of_three_in_legacy_form() -> None:
    votes = np.stack([2 * ROWS[0], ROWS[0], ROWS[0]])
    share = votes.var(axis=-1) / votes.var(axis=-1).sum()
    assert share[0] == pytest.approx(4 / 6)
    np.testing.assert_allclose(legacy(votes), (8 + 1 + 1) * 1.2838 * ROWS[0], 1e-4)


def test_legacy_variance_of_standardised_scores_is_their_sum() -> None:
    z = (ROWS - ROWS.mean(axis=1, keepdims=True)) / ROWS.std(axis=1, ddof=1, keepdims=True)
    np.testing.assert_allclose(legacy(z), z.sum(axis=0))


def test_flat_voters_fall_back_to_equal_weights() -> None:
    flat = np.full((2, 101), 0.3)
    peaked = np.stack([np.linspace(0, 1, 101), np.full(101, 7.0)])
    videos = np.stack([flat, peaked, flat])
    np.testing.assert_allclose(variance(videos)[0], np.full(101, 1 / 101))
    np.testing.assert_allclose(variance(videos)[1], softmax(peaked[0]))  # its flat voter is mute


def test_probabilities_are_taken_as_they_are() -> None:
    np.testing.assert_allclose(variance(softmax(ROWS), kind="probs"), variance(ROWS))


def test_voters_with_two_first_classes_have_no_margin() -> None:
    tied = np.array([[5.0, 5.0, 0.0], [5.0, 0.0, 5.0]])
    np.testing.assert_allclose(margin(tied), softmax(tied).mean(axis=0))


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"on": "rank"}, "variance on='rank'; allowed: scores, probs"),
        ({"normalise": "max"}, "normalise='max'; allowed: none, sum, softmax"),
        ({"combine": "all"}, "combine='all'; allowed"),
        ({"top": 1}, "top=1; it must be a whole number in 2..4"),
        ({"top": 5}, "in 2..4"),
    ],
)
def test_switches_that_do_not_exist(switches: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        variance(ROWS, **switches)


@pytest.mark.parametrize("strategy", [variance, entropy, margin])
def test_one_class_says_nothing_of_confidence(strategy) -> None:  # noqa: ANN001
    with pytest.raises(InputError, match="at least 2 classes"):
        strategy(ROWS[:, :1])
