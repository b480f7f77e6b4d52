from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fusion.combining.confidence import VARIANCE_FORMS
from fusion.combining.probabilities import softmax
from fusion.combining.strategies import (
    STRATEGIES,
    geometric,
    rank,
    returned_kind,
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
        ([1, 2], "2 weights for 3 voters .*; give one for each"),
        ([1, -1, 1], "must be 0 or more"),
        ([0, 0, 0], "not all 0"),
        ([1, float("nan"), 1], "finite"),
        ([1, float("inf"), 1], "finite"),
        ([[1, 1, 1, 1]] * 2, "2 weights for 3 voters .*, or for each of the 4 classes"),
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
        votes = scores.tolist()
        for name, reference in REFERENCES.items():
            np.testing.assert_allclose(STRATEGIES[name](scores), reference(votes), err_msg=name)


def peaked(vote: list[float]) -> list[float]:
    total = sum(math.exp(score) for score in vote)
    return [math.exp(score) / total for score in vote]


def columns(votes: list[list[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*votes, strict=True)]


def by_confidence(votes: list[list[float]], confidence: Callable[[list[float]], float]) -> list:
    probs = [peaked(vote) for vote in votes]
    sure = [confidence(prob) for prob in probs]
    return [sum(w * p for w, p in zip(sure, ps, strict=True)) / sum(sure) for ps in columns(probs)]


def normalised_product(votes: list[list[float]]) -> list[float]:
    roots = [statistics.geometric_mean(column) for column in columns([*map(peaked, votes)])]
    return [root / sum(roots) for root in roots]


def borda(votes: list[list[float]]) -> list[float]:
    points = [[sum(a > b for b in vote) for a in vote] for vote in votes]
    total = sum(map(sum, points))
    return [sum(column) / total for column in columns(points)]


REFERENCES = {
    "mean": lambda votes: [*map(statistics.mean, columns(votes))],
    "max": lambda votes: [*map(max, columns(votes))],
    "median": lambda votes: [*map(statistics.median, columns(votes))],
    "topk": lambda votes: [statistics.mean(sorted(column)[-2:]) for column in columns(votes)],
    "geometric": normalised_product,
    "rank": borda,
    "variance": lambda votes: by_confidence(votes, statistics.variance),
    "entropy": lambda votes: by_confidence(
        votes, lambda prob: 1 + sum(p * math.log(p) for p in prob) / math.log(len(prob))
    ),
    "margin": lambda votes: by_confidence(votes, lambda prob: sorted(prob)[-1] - sorted(prob)[-2]),
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
    np.testing.assert_allclose(geometric(softmax(scores), kind="probs"), geometric(scores))


def test_geometric_mean_survives_a_probability_of_zero() -> None:
    fused = geometric(np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]), kind="probs")
    np.testing.assert_allclose(fused, [1, 0, 0], atol=1e-100)


@pytest.mark.parametrize("k", [0, 4, 1.5])
def test_topk_of_a_number_that_is_not_there(k: float) -> None:
    with pytest.raises(InputError, match=f"topk of {k} among 3 voters; k must lie in 1..3"):
        topk(ROWS, k=k)  # type: ignore[arg-type]


@given(scores=logits())
def test_what_returns_probabilities_says_so(scores: np.ndarray) -> None:
    for name in STRATEGIES.keys() - {"weighted"}:
        if returned_kind(STRATEGIES[name], {}, kind="logits") == "probs":
            np.testing.assert_allclose(STRATEGIES[name](scores).sum(), 1, err_msg=name)
    assert returned_kind(variance, VARIANCE_FORMS["legacy"], kind="logits") == "logits"
    assert returned_kind(rank, {}, kind="logits") == "probs"
