from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fusion.probabilities import count_fallbacks, softmax
from fusion.strategies import STRATEGIES, variance, weighted
from twostream.errors import InputError

ROWS = np.array([[-1.3063, 1.4182, -0.3061, 0.2], [0.5, -0.25, 1.75, 0.0], [0.1, 0.1, -0.4, 0.9]])
# The matrix of the lab notes that the variance fusion comes from (first three rows).
NOTES = np.array([
    [-1.2738, -0.3058, 0.1230, -1.9615],
    [0.8771, -0.5430, -0.9233, 0.9879],
    [1.4107, 0.0317, -0.6823, 0.2255],
])  # fmt: skip
OPTIONS = {"weighted": lambda voters: {"weights": range(1, voters + 1)}}


def logits(min_voters: int = 1, largest: float = 50.0) -> st.SearchStrategy[np.ndarray]:
    """(voters, classes)"""
    shapes = st.tuples(st.integers(min_voters, 5), st.integers(2, 8))
    return shapes.flatmap(lambda s: arrays(np.float64, s, elements=st.floats(-largest, largest)))


@pytest.mark.parametrize(
    ("scores", "strategy", "options", "expected"),
    [
        (ROWS, "mean", {}, [-0.2354, 0.4227, 0.3480, 0.3667]),
        (ROWS, "max", {}, [0.5, 1.4182, 1.75, 0.9]),
        (ROWS, "weighted", {"weights": [2, 1, 1]}, [-0.5032, 0.6716, 0.1845, 0.325]),
        (ROWS, "variance", {"form": "legacy"}, [-1.2523, 1.6517, 0.8768, 0.5170]),
        (ROWS, "variance", {}, [0.1195, 0.3636, 0.3230, 0.1940]),
        (NOTES, "mean", {}, [0.3380, -0.2724, -0.4942, -0.2494]),
        (NOTES, "max", {}, [1.4107, 0.0317, 0.1230, 0.9879]),
        (NOTES, "variance", {"form": "legacy"}, [0.7705, -0.7634, -1.2841, -0.6281]),
        (NOTES, "variance", {}, [0.3982, 0.1845, 0.1945, 0.2228]),
    ],
)
def test_golden_vectors(
    scores: np.ndarray, strategy: str, options: dict, expected: list[float]
) -> None:
    np.testing.assert_allclose(STRATEGIES[strategy](scores, **options), expected, atol=6e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(shape=array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=4))
def test_every_strategy_reduces_the_voters_axis(strategy: str, shape: tuple[int, ...]) -> None:
    scores = np.random.default_rng(0).normal(size=shape)
    options = OPTIONS.get(strategy, lambda voters: {})(shape[-2])
    fused = STRATEGIES[strategy](scores, **options)
    assert fused.shape == shape[:-2] + shape[-1:]
    one = STRATEGIES[strategy](scores.reshape(-1, *shape[-2:])[-1], **options)
    np.testing.assert_allclose(fused.reshape(-1, shape[-1])[-1], one, rtol=1e-12)


@given(scores=logits(), order=st.randoms())
def test_the_order_of_the_voters_is_irrelevant(scores: np.ndarray, order) -> None:  # noqa: ANN001
    moved = list(range(len(scores)))
    order.shuffle(moved)
    weights = np.arange(1.0, len(scores) + 1)
    for name, here, there in [
        ("mean", {}, {}),
        ("max", {}, {}),
        ("weighted", {"weights": weights}, {"weights": weights[moved]}),
        ("variance", {}, {}),
        ("variance", {"form": "legacy"}, {"form": "legacy"}),
    ]:
        a = STRATEGIES[name](scores, **here)
        b = STRATEGIES[name](scores[moved], **there)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-7)


@given(scores=logits(min_voters=2, largest=5.0), shift=st.floats(-10, 10))
def test_normalised_variance_ignores_a_constant(scores: np.ndarray, shift: float) -> None:
    fused = variance(scores)
    np.testing.assert_allclose(fused.sum(), 1)
    if not count_fallbacks(scores, kind="logits") and softmax(scores).var(axis=-1).sum() > 1e-9:
        np.testing.assert_allclose(variance(scores + shift), fused, atol=1e-6)


@given(scores=logits(), scale=st.floats(0.1, 3))
def test_legacy_variance_grows_with_the_cube_of_the_scale(scores: np.ndarray, scale: float) -> None:
    expected = scale**3 * variance(scores, form="legacy")
    np.testing.assert_allclose(variance(scale * scores, form="legacy"), expected, atol=1e-6)


def test_a_voter_twice_as_loud_gets_two_thirds_of_three_in_legacy_form() -> None:
    votes = np.stack([2 * ROWS[0], ROWS[0], ROWS[0]])
    share = votes.var(axis=-1) / votes.var(axis=-1).sum()
    assert share[0] == pytest.approx(4 / 6)
    np.testing.assert_allclose(variance(votes, form="legacy"), (8 + 1 + 1) * 1.2838 * ROWS[0], 1e-4)


def test_legacy_variance_of_standardised_scores_is_their_sum() -> None:
    z = (ROWS - ROWS.mean(axis=1, keepdims=True)) / ROWS.std(axis=1, ddof=1, keepdims=True)
    np.testing.assert_allclose(variance(z, form="legacy"), z.sum(axis=0))


def test_flat_voters_fall_back_to_equal_weights() -> None:
    flat = np.full((2, 101), 0.3)
    peaked = np.stack([np.linspace(0, 1, 101), np.full(101, 7.0)])
    videos = np.stack([flat, peaked, flat])
    np.testing.assert_allclose(variance(videos)[0], np.full(101, 1 / 101))
    np.testing.assert_allclose(variance(videos)[1], softmax(peaked[0]))  # its flat voter is mute


def test_probabilities_are_taken_as_they_are() -> None:
    np.testing.assert_allclose(variance(softmax(ROWS), kind="probs"), variance(ROWS))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "2 weights for 3 voters .*; give one for each"),
        ([1, -1, 1], "must be 0 or more"),
        ([0, 0, 0], "not all 0"),
        ([1, float("nan"), 1], "finite"),
        ([1, float("inf"), 1], "finite"),
    ],
)
def test_bad_weights(weights: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        weighted(ROWS, weights=weights)


def test_bad_variance_options() -> None:
    with pytest.raises(InputError, match="allowed: normalised, legacy"):
        variance(ROWS, form="sum")
    with pytest.raises(InputError, match="at least 2 classes"):
        variance(ROWS[:, :1])
