from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fusion.fitting.weight_search import right_count, search_weights, weight_curve

GRID = np.linspace(0, 1, 1001)


def naive(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> list[int]:
    return [int(((w * first + (1 - w) * second).argmax(axis=1) == labels).sum()) for w in GRID]


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_that_of_the_naive_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, 300, 7)) * [[[1]], [[4]]]
    labels = rng.integers(7, size=300)
    curve = weight_curve(first, second, labels)
    assert curve.correct(GRID).tolist() == naive(first, second, labels)


WHOLE = arrays(np.int64, (2, 6, 3), elements=st.integers(-3, 3))


@given(scores=WHOLE, label=st.integers(0, 2))
def test_ties_go_to_the_lower_class_as_in_exact_arithmetic(scores: np.ndarray, label: int) -> None:
    first, second = scores.astype(float)
    curve = weight_curve(first, second, np.full(6, label))
    for w in (Fraction(0), Fraction(1, 4), Fraction(1, 2), Fraction(5, 8), Fraction(1)):
        right = 0
        for a, b in zip(*scores.tolist(), strict=True):
            fused = [w * x + (1 - w) * y for x, y in zip(a, b, strict=True)]
            right += fused.index(max(fused)) == label
        assert curve.correct(np.array([float(w)])).tolist() == [right]


def test_every_video_has_one_interval_written_out() -> None:
    first = np.array([[2.0, 0], [0, 1], [0, 1], [1, 0], [0, 0]])
    second = np.array([[0.0, 1], [3, 0], [0, 1], [0, 1], [0, 0]])
    curve = weight_curve(first, second, np.array([0, 1, 0, 1, 0]))
    # video 0 from 1/3 on (class 0 wins the tie), 1 above 3/4, 2 never, 3 below 1/2, 4 always
    assert curve.correct(np.array([0, 1 / 3, 0.4, 0.5, 0.75, 0.8])).tolist() == [2, 3, 3, 2, 2, 3]
    changes, counts = curve.steps()
    np.testing.assert_allclose(changes, [0, 1 / 3, 1 / 2, 3 / 4])
    assert counts.tolist() == [2, 3, 2, 3]
    weight, correct = curve.best()
    assert (weight, correct) == (pytest.approx(0.875), 3)


def test_of_equally_wide_stretches_the_more_even_one() -> None:
    first = np.array([[1.0, 0], [0, 1]])
    second = np.array([[0.0, 1], [1, 0]])  # one is right from 1/2 on, the other from 0 to 1/2
    assert weight_curve(first, second, np.array([0, 0])).best() == (0.5, 2)
    apart = np.array([[0.0, 3.0], [0.0, 3.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    # the second video is right above 1/4 only, the first below: the wider stretch wins
    assert weight_curve(*apart, np.array([0, 1])).best() == (pytest.approx(0.625), 1)


def test_nothing_is_ever_right() -> None:
    wrong = np.array([[0.0, 1.0]])
    assert weight_curve(wrong, wrong, np.array([0])).best() == (0.5, 0)
    assert weight_curve(wrong, wrong, np.array([0])).correct(GRID).sum() == 0


@pytest.mark.parametrize("streams", [1, 2, 3, 4, 6])
def test_no_weight_of_a_fine_grid_is_better(streams: int) -> None:
    rng = np.random.default_rng(streams)
    labels = rng.integers(5, size=120)
    scores = [rng.normal(size=(120, 5)) * 4**s + 4**s * np.eye(5)[labels] for s in range(streams)]
    weights, correct = search_weights(scores, labels)
    assert weights.sum() == pytest.approx(1)
    assert right_count(scores, weights, labels) == correct
    tries = rng.dirichlet(np.ones(streams), size=1500) / 4.0 ** np.arange(streams)
    best = max(right_count(scores, w, labels) for w in tries)
    assert correct >= best - (streams > 2)  # a line search may end one video short
