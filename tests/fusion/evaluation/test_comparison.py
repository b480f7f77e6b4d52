from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from fusion.combining.fuse import score_videos
from fusion.combining.step import Step
from fusion.combining.strategies import STRATEGIES
from fusion.evaluation.comparison import (
    bootstrap_interval,
    class_accuracy,
    compare,
    complementarity,
    holm,
    mcnemar,
    segment_accuracy,
    sign_test,
    smallest_difference,
    yules_q,
)
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError


def answers(both: int, one: int, other: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    counts = (both, one, other, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False] * 2, counts)


@given(one=st.integers(0, 300), other=st.integers(0, 300))
def test_the_exact_test_is_scipys(one: int, other: int) -> None:
    if one + other:
        expected = binomtest(one, one + other).pvalue
        assert sign_test(one, other) == pytest.approx(expected, rel=1e-9)
    assert sign_test(one, other) == sign_test(other, one)


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [(0, 0, 1), (5, 0, 2 / 32), (1, 7, 18 / 256), (3, 3, 1), (2, 8, 0.109375)],
)
def test_small_tables_by_hand(one: int, other: int, p: float) -> None:
    first, second = answers(10, one, other, 4)
    assert mcnemar(first, second) == (one, other, pytest.approx(p, rel=1e-12))


def test_large_tables_do_not_overflow() -> None:
    assert 0 < sign_test(60_000, 61_000) < 0.005
    assert sign_test(0, 2000) == 0


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    shares, videos, truth = [0.6, 0.15, 0.08, 0.17], 300, 0.07
    covered = 0
    for _ in range(400):
        first, second = answers(*rng.multinomial(videos, shares))
        low, high = bootstrap_interval(first, second, rng=rng, resamples=1000)
        covered += low <= truth <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_groups_that_move_together_widen_the_interval_and_keep_it_true() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat([f"g{g}" for g in range(60)], 5)
    covered = {"groups": 0, "videos": 0}
    for _ in range(200):
        first, second = (np.repeat(rng.random(60) < share, 5) for share in (0.7, 0.6))
        for how, parts in (("groups", groups), ("videos", None)):
            low, high = bootstrap_interval(first, second, rng=rng, groups=parts, resamples=500)
            covered[how] += low <= 0.1 <= high
    assert covered["groups"] / 200 > 0.89
    assert covered["videos"] / 200 < 0.75


def test_the_interval_against_plain_resampling() -> None:
    first, second = answers(50, 20, 8, 22)
    rng = np.random.default_rng(1)
    drawn = rng.integers(100, size=(20_000, 100))
    slow = (first.astype(int) - second)[drawn].mean(axis=1)
    expected = np.quantile(slow, [0.025, 0.975])
    for groups in (None, [f"v{video}" for video in range(100)]):
        found = bootstrap_interval(first, second, rng=rng, groups=groups)
        np.testing.assert_allclose(found, expected, atol=0.011)


def test_holm_by_hand() -> None:
    # Holm (1979): 4 x 0.005, 3 x 0.01, 2 x 0.03, then not below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= 1
        assert all(q <= other for r, other in zip(p_values, adjusted, strict=True) if r >= p)


def test_the_smallest_difference_is_found_four_times_in_five() -> None:
    videos, discordant = 1530, 300
    difference = smallest_difference(videos, discordant)
    assert difference is not None
    rng = np.random.default_rng(0)
    share = discordant / videos
    odds = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    drawn = rng.multinomial(videos, odds, size=2000)
    found = np.mean([sign_test(one, other) < 0.05 for one, other, _ in drawn])
    assert 0.76 < found < 0.84
    assert smallest_difference(1530, 0) is None
    assert smallest_difference(4, 1) == pytest.approx(0.25)
    assert math.isclose(difference, (1.96 + 0.84) * math.sqrt(share / videos), rel_tol=0.02)


def scores_of(*right: int) -> np.ndarray:
    """Scores of 10 videos of class 1, right for the numbered ones."""
    scores = np.tile([1.0, 0.0], (10, 1))
    scores[list(right)] = [0.0, 1.0]
    return scores


LABELS = np.ones(10, dtype=np.int64)


def test_pairs_written_out() -> None:
    results = {"a": scores_of(*range(9)), "b": scores_of(0, 9), "c": scores_of(*range(8))}
    result = compare(results, LABELS, rng=0)
    assert [(system["name"], system["correct"]) for system in result["systems"]] == [
        ("a", 9), ("b", 2), ("c", 8),
    ]  # fmt: skip
    ab, ac, bc = result["pairs"]
    assert (ab["first"], ab["second"], ab["only_first"], ab["only_second"]) == ("a", "b", 8, 1)
    assert ab["difference"] == 70
    assert ab["p"] == pytest.approx(20 / 512)
    assert ab["p_holm"] == pytest.approx(60 / 512)
    assert (ac["p"], bc["difference"]) == (1, -60)
    low, high = ab["interval"]
    assert 0 < low < 70 < high <= 100
    assert result["bootstrap"] == "videos"


def test_videos_without_label_are_left_out() -> None:
    labels = LABELS.copy()
    labels[9] = -1
    results = {"a": scores_of(*range(9)), "b": scores_of(0, 9)}
    result = compare(results, labels, rng=0, groups=list("aabbccddee"))
    assert result["videos"] == 9
    assert result["bootstrap"] == "groups"
    assert (result["pairs"][0]["only_first"], result["pairs"][0]["only_second"]) == (8, 0)


def test_the_same_seed_gives_the_same_intervals() -> None:
    results = {"a": scores_of(1, 2, 3), "b": scores_of(4, 5)}
    first, second = (compare(results, LABELS, rng=7) for _ in range(2))
    assert first == second


def test_nothing_to_compare() -> None:
    for results, labels in (
        ({"a": scores_of()}, LABELS),
        ({"a": scores_of(), "b": scores_of()}, -LABELS),
    ):
        with pytest.raises(InputError, match="two results, and videos with a label"):
            compare(results, labels)


def test_results_of_other_videos() -> None:
    with pytest.raises(InputError, match=r"10 videos, classes\); not so: b"):
        compare({"a": scores_of(), "b": scores_of()[:9]}, LABELS)


Make = Callable[..., ScoreTable]
YES, NO = [0.0, 1.0], [1.0, 0.0]


def test_mistakes_of_two_streams_written_out(make_table: Make) -> None:
    labels = [1, 1, 1, 1, 1, -1]
    streams = score_videos(join({
        "a": make_table([YES, YES, YES, NO, NO, NO], labels=labels),
        "b": make_table([YES, YES, NO, YES, NO, NO], labels=labels),
    }))  # fmt: skip
    result = complementarity(streams)
    assert (result["oracle"]["correct"], result["oracle"]["of"]) == (4, 5)
    (pair,) = result["pairs"]
    assert pair["double_fault"]["correct"] == 1
    assert pair["q"] == pytest.approx((2 * 1 - 1 * 1) / (2 * 1 + 1 * 1))


def test_q_at_its_ends() -> None:
    one, other = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert yules_q(one, one) == 1
    assert yules_q(one, ~one) == -1
    assert yules_q(one, other) == 0
    assert yules_q(one, np.ones(4, dtype=bool)) is None


def test_segments_alone_and_without(make_table: Make) -> None:
    views = [[YES, NO, [0, 0.4]], [YES, YES, [9, 0]], [YES, NO, NO]]  # videos, segments
    table = make_table(views, labels=[1, 1, -1])
    rows = segment_accuracy(table)
    counts = [(row["segment"], row["alone"]["correct"], row["without"]["correct"]) for row in rows]
    assert counts == [(1, 2, 0), (2, 1, 1), (3, 1, 1)]
    by_max = segment_accuracy(table, segments=Step("max", STRATEGIES["max"]))
    assert [row["without"]["correct"] for row in by_max] == [0, 1, 1]
    weights = {"weights": [1, 1, 1]}
    weighed = segment_accuracy(table, segments=Step("weighted", STRATEGIES["weighted"], weights))
    assert [row["without"] for row in weighed] == [None] * 3
    assert segment_accuracy(make_table([YES], labels=[1]))[0]["without"] is None


def test_classes() -> None:
    a, b = np.array([YES, YES, NO, NO]), np.array([YES, YES, YES, YES])
    labels = np.array([1, 1, 0, -1])
    assert class_accuracy({"a": a, "b": b}, labels, ("x", "y")) == [
        {"class": "x", "videos": 1, "correct": {"a": 1, "b": 0}},
        {"class": "y", "videos": 2, "correct": {"a": 2, "b": 2}},
    ]
