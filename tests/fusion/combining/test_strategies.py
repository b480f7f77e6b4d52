from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fusion.combining.fuse import apply_step
from fusion.combining.probabilities import softmax
from fusion.combining.step import Step
from fusion.combining.strategies import (
    STRATEGIES,
    VARIANCE_FORMS,
    Strategy,
    entropy,
    geometric,
    margin,
    rank,
    topk,
    variance,
    weighted,
)
from twostream_base.errors import InputError

ROWS = np.array([[-1.3063, 1.4182, -0.3061, 0.2], [0.5, -0.25, 1.75, 0.0], [0.1, 0.1, -0.4, 0.9]])
# The matrix of the lab notes that the variance fusion comes from (first three rows).
NOTES = np.array([
    [-1.2738, -0.3058, 0.1230, -1.9615],
    [0.8771, -0.5430, -0.9233, 0.9879],
    [1.4107, 0.0317, -0.6823, 0.2255],
])  # fmt: skip
OPTIONS = {"weighted": lambda members: {"weights": range(1, members + 1)}}


def logits(min_members: int = 1, largest: float = 50.0) -> st.SearchStrategy[np.ndarray]:
    """(members, classes)"""
    shapes = st.tuples(st.integers(min_members, 5), st.integers(2, 8))
    return shapes.flatmap(lambda s: arrays(np.float64, s, elements=st.floats(-largest, largest)))


@pytest.mark.parametrize(
    ("scores", "strategy", "options", "expected"),
    [
        (ROWS, "mean", {}, [-0.2354, 0.4227, 0.3480, 0.3667]),
        (ROWS, "max", {}, [0.5, 1.4182, 1.75, 0.9]),
        (ROWS, "weighted", {"weights": [2, 1, 1]}, [-0.5032, 0.6716, 0.1845, 0.325]),
        (ROWS, "median", {}, [0.1, 0.1, -0.3061, 0.2]),
        (ROWS, "topk", {"k": 2}, [0.3, 0.7591, 0.72195, 0.55]),
        (ROWS, "topk", {}, [0.3, 0.7591, 0.72195, 0.55]),
        (ROWS, "weighted", {"weights": [[2, 1, 0, 1], [1, 1, 1, 0], [1, 1, 0, 0]]},
         [-0.50315, 0.42273, 1.75, 0.2]),
        (ROWS, "geometric", {}, [0.1527, 0.2949, 0.2736, 0.2788]),
        (ROWS, "rank", {}, [3.5 / 18, 4.5 / 18, 4 / 18, 6 / 18]),
        (ROWS, "variance", VARIANCE_FORMS["legacy"], [-1.2523, 1.6517, 0.8768, 0.5170]),
        (ROWS, "variance", {}, [0.1195, 0.3636, 0.3230, 0.1940]),
        (NOTES, "mean", {}, [0.3380, -0.2724, -0.4942, -0.2494]),
        (NOTES, "max", {}, [1.4107, 0.0317, 0.1230, 0.9879]),
        (NOTES, "variance", VARIANCE_FORMS["legacy"], [0.7705, -0.7634, -1.2841, -0.6281]),
        (NOTES, "variance", {}, [0.3982, 0.1845, 0.1945, 0.2228]),
    ],
)  # fmt: skip
def test_golden_vectors(
    scores: np.ndarray, strategy: str, options: dict, expected: list[float]
) -> None:
    np.testing.assert_allclose(STRATEGIES[strategy](scores, **options), expected, atol=6e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(shape=array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=4))
def test_every_strategy_reduces_the_members_axis(strategy: str, shape: tuple[int, ...]) -> None:
    scores = np.random.default_rng(0).normal(size=shape)
    options = OPTIONS.get(strategy, lambda members: {})(shape[-2])
    fused = STRATEGIES[strategy](scores, **options)
    assert fused.shape == shape[:-2] + shape[-1:]
    one = STRATEGIES[strategy](scores.reshape(-1, *shape[-2:])[-1], **options)
    np.testing.assert_allclose(fused.reshape(-1, shape[-1])[-1], one, rtol=1e-12)


@given(scores=logits(), order=st.randoms())
def test_the_order_of_the_members_is_irrelevant(scores: np.ndarray, order) -> None:  # noqa: ANN001
    moved = list(range(len(scores)))
    order.shuffle(moved)
    weights = np.arange(1.0, len(scores) + 1)
    for name, here, there in [
        ("weighted", {"weights": weights}, {"weights": weights[moved]}),
        ("variance", VARIANCE_FORMS["legacy"], VARIANCE_FORMS["legacy"]),
        *((name, {}, {}) for name in STRATEGIES if name != "weighted"),
    ]:
        a = STRATEGIES[name](scores, **here)
        b = STRATEGIES[name](scores[moved], **there)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "2 weights for 3 members .*; give one for each"),
        ([1, -1, 1], "must be 0 or more"),
        ([0, 0, 0], "not all 0"),
        ([1, float("nan"), 1], "finite"),
        ([1, float("inf"), 1], "finite"),
        ([[1, 1, 1, 1]] * 2, "2 weights for 3 members .*, or one for each of the 4 classes"),
        ([[0, 1, 1, 1]] * 3, "not all 0"),
    ],
)
def test_bad_weights(weights: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        weighted(ROWS, weights=weights)


def test_a_strategy_meets_its_slow_reference() -> None:
    """Every strategy again, in plain Python, one video and class at a time."""
    rng = np.random.default_rng(1)
    for scores in rng.normal(size=(20, 3, 6)) * 3:
        streams = scores.tolist()
        for name, reference in REFERENCES.items():
            np.testing.assert_allclose(STRATEGIES[name](scores), reference(streams), err_msg=name)


def peaked(member: list[float]) -> list[float]:
    total = sum(math.exp(score) for score in member)
    return [math.exp(score) / total for score in member]


def columns(streams: list[list[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*streams, strict=True)]


def by_confidence(streams: list[list[float]], confidence: Callable[[list[float]], float]) -> list:
    probs = [peaked(member) for member in streams]
    sure = [confidence(prob) for prob in probs]
    return [sum(w * p for w, p in zip(sure, ps, strict=True)) / sum(sure) for ps in columns(probs)]


def normalised_product(streams: list[list[float]]) -> list[float]:
    roots = [statistics.geometric_mean(column) for column in columns([*map(peaked, streams)])]
    return [root / sum(roots) for root in roots]


def borda(streams: list[list[float]]) -> list[float]:
    points = [[sum(a > b for b in member) for a in member] for member in streams]
    total = sum(map(sum, points))
    return [sum(column) / total for column in columns(points)]


REFERENCES = {
    "mean": lambda streams: [*map(statistics.mean, columns(streams))],
    "max": lambda streams: [*map(max, columns(streams))],
    "median": lambda streams: [*map(statistics.median, columns(streams))],
    "topk": lambda streams: [statistics.mean(sorted(column)[-2:]) for column in columns(streams)],
    "geometric": normalised_product,
    "rank": borda,
    "variance": lambda streams: by_confidence(streams, statistics.variance),
    "entropy": lambda streams: by_confidence(
        streams, lambda prob: 1 + sum(p * math.log(p) for p in prob) / math.log(len(prob))
    ),
    "margin": lambda streams: by_confidence(
        streams, lambda prob: sorted(prob)[-1] - sorted(prob)[-2]
    ),
}


def test_references_cover_all_but_the_weighted_mean() -> None:
    assert REFERENCES.keys() == STRATEGIES.keys() - {"weighted"}


@given(scores=logits(), scale=st.floats(0.1, 10))
def test_ranks_ignore_the_scale_and_share_ties(scores: np.ndarray, scale: float) -> None:
    rounded = scores.round()
    np.testing.assert_allclose(rank(rounded * scale).sum(), 1)
    np.testing.assert_array_equal(rank(rounded * scale), rank(rounded))
    np.testing.assert_allclose(rank(rounded[:, ::-1])[::-1], rank(rounded))
    np.testing.assert_allclose(rank(np.zeros((2, 4))), [0.25] * 4)


@given(scores=logits(largest=20))
def test_geometric_of_logits_is_the_softmax_of_their_mean(scores: np.ndarray) -> None:
    np.testing.assert_allclose(geometric(scores), softmax(scores.mean(axis=0)), atol=1e-12)
    np.testing.assert_allclose(geometric(softmax(scores), score_type="probs"), geometric(scores))


def test_geometric_mean_survives_a_probability_of_zero() -> None:
    fused = geometric(np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]), score_type="probs")
    np.testing.assert_allclose(fused, [1, 0, 0], atol=1e-100)


@pytest.mark.parametrize("k", [0, 4, 1.5])
def test_topk_of_a_number_that_is_not_there(k: float) -> None:
    with pytest.raises(InputError, match=f"k={k} of 3 members; allowed: 1..3"):
        topk(ROWS, k=k)  # type: ignore[arg-type]


@given(scores=logits())
def test_what_returns_probabilities_says_so(scores: np.ndarray) -> None:
    def returned_type(strategy: Strategy, **options: object) -> str:
        return apply_step(scores, Step("tried", strategy, options), score_type="logits").score_type

    for name in STRATEGIES.keys() - {"weighted"}:
        if returned_type(STRATEGIES[name]) == "probs":
            np.testing.assert_allclose(STRATEGIES[name](scores).sum(), 1, err_msg=name)
    assert returned_type(variance, **VARIANCE_FORMS["legacy"]) == "logits"
    assert returned_type(rank) == "probs"


def legacy(scores: np.ndarray, **switches: object) -> np.ndarray:
    return variance(scores, **VARIANCE_FORMS["legacy"] | switches)


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


@given(scores=logits(min_members=2, largest=20), scale=st.floats(0.5, 2))
def test_entropy_and_margin_follow_the_surest_member(scores: np.ndarray, scale: float) -> None:
    peak = np.zeros_like(scores)
    peak[0, 1] = 700 * scale
    for strategy in (entropy, margin):
        np.testing.assert_allclose(strategy(peak), np.eye(scores.shape[1])[1], atol=1e-12)
        np.testing.assert_allclose(strategy(softmax(scores), score_type="probs"), strategy(scores))


@given(scores=logits(min_members=2, largest=5.0), shift=st.floats(-10, 10))
def test_normalised_variance_ignores_a_constant(scores: np.ndarray, shift: float) -> None:
    fused = variance(scores)
    np.testing.assert_allclose(fused.sum(), 1)
    if softmax(scores).var(axis=-1).sum() > 1e-9:
        np.testing.assert_allclose(variance(scores + shift), fused, atol=1e-6)


@given(scores=logits(), scale=st.floats(0.1, 3))
def test_legacy_variance_grows_with_the_cube_of_the_scale(scores: np.ndarray, scale: float) -> None:
    expected = scale**3 * legacy(scores)
    np.testing.assert_allclose(legacy(scale * scores), expected, atol=1e-6)


def test_a_member_twice_as_loud_gets_two_thirds_of_three_in_legacy_form() -> None:
    streams = np.stack([2 * ROWS[0], ROWS[0], ROWS[0]])
    share = streams.var(axis=-1) / streams.var(axis=-1).sum()
    assert share[0] == pytest.approx(4 / 6)
    np.testing.assert_allclose(legacy(streams), (8 + 1 + 1) * 1.2838 * ROWS[0], 1e-4)


def test_legacy_variance_of_standardised_scores_is_their_sum() -> None:
    z = (ROWS - ROWS.mean(axis=1, keepdims=True)) / ROWS.std(axis=1, ddof=1, keepdims=True)
    np.testing.assert_allclose(legacy(z), z.sum(axis=0))


def test_flat_members_fall_back_to_equal_weights() -> None:
    flat = np.full((2, 101), 0.3)
    peaked = np.stack([np.linspace(0, 1, 101), np.full(101, 7.0)])
    videos = np.stack([flat, peaked, flat])
    np.testing.assert_allclose(variance(videos)[0], np.full(101, 1 / 101))
    np.testing.assert_allclose(variance(videos)[1], softmax(peaked[0]))  # flat: no weight


def test_probabilities_are_taken_as_they_are() -> None:
    np.testing.assert_allclose(variance(softmax(ROWS), score_type="probs"), variance(ROWS))


def test_members_with_two_first_classes_have_no_margin() -> None:
    tied = np.array([[5.0, 5.0, 0.0], [5.0, 0.0, 5.0]])
    np.testing.assert_allclose(margin(tied), softmax(tied).mean(axis=0))


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"on": "rank"}, "variance on='rank'; allowed: scores, probs"),
        ({"normalise": "max"}, "normalise='max'; allowed: none, sum, softmax"),
        ({"combine": "all"}, "combine='all'; allowed"),
        ({"top": 1}, "top=1; allowed: whole numbers in 2..4"),
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
