from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from fusion.combining.fuse import score_videos
from fusion.combining.step import Step
from fusion.combining.strategies import STRATEGIES
from fusion.evaluation.comparison import (
    class_accuracy,
    compare,
    complementarity,
    group_gains,
    holm,
    mcnemar,
    segment_accuracy,
    sign_flip_interval,
    sign_flip_test,
    smallest_difference,
    yules_q,
)
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError


def answers(both: int, one: int, other: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    counts = (both, one, other, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False] * 2, counts)


def sign_test(one: int, other: int) -> float:
    """Of so many videos that only the one result, and that only the other got right."""
    return sign_flip_test(np.repeat([1, -1], [one, other]))


@given(one=st.integers(0, 300), other=st.integers(0, 300))
def test_the_exact_test_of_independent_videos_is_scipys(one: int, other: int) -> None:
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


@given(gains=st.lists(st.integers(-6, 6), min_size=1, max_size=10))
def test_the_test_of_groups_counts_all_signs(gains: list[int]) -> None:
    signs = np.array(list(itertools.product((1, -1), repeat=len(gains))))
    as_extreme = np.abs(signs @ np.array(gains)) >= abs(sum(gains))
    assert sign_flip_test(np.array(gains)) == pytest.approx(as_extreme.mean(), rel=1e-12)


def test_the_test_of_many_groups_against_drawn_signs() -> None:
    rng = np.random.default_rng(0)
    gains = rng.integers(-4, 5, size=400)
    signs = rng.choice([-1, 1], size=(4000, 400)).astype(np.float32)
    beyond = int((np.abs(signs @ gains) >= abs(gains.sum())).sum())
    assert 0.05 < beyond / 4000 < 0.95
    assert sign_flip_test(gains) == pytest.approx((beyond + 1) / 4001, abs=0.025)


def test_gains_of_groups_written_out() -> None:
    first = np.array([True, True, False, True, False, False])
    second = np.array([False, False, False, True, True, False])
    gains, sizes = group_gains(first, second, list("bbabaa"))
    assert (gains.tolist(), sizes.tolist()) == ([-1, 2], [3, 3])
    assert group_gains(first, second).gains.tolist() == [1, 1, 0, 0, -1, 0]


def drawn_pair(
    rng: np.random.Generator, *, scene: int, shared: float, accuracies: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers of two results on 600 videos, some of them those of a whole scene, and the scenes."""
    scenes = np.repeat(np.arange(600 // scene), scene)
    first, second = (
        np.where(
            rng.random(600) < shared,
            (rng.random(600 // scene) < accuracy)[scenes],
            rng.random(600) < accuracy,
        )
        for accuracy in accuracies
    )
    return first, second, scenes


@pytest.mark.parametrize(("scene", "shared"), [(1, 0.0), (4, 0.53), (6, 0.71)])
def test_scenes_do_not_make_differences(scene: int, shared: float) -> None:
    """`benchmarks/type_one_errors.py` does it more often, and with the whole of `compare`."""
    rng, rejected = np.random.default_rng(3), np.zeros(2)
    for _ in range(300):
        first, second, scenes = drawn_pair(rng, scene=scene, shared=shared, accuracies=(0.8, 0.8))
        by_scene = sign_flip_test(group_gains(first, second, scenes).gains)
        rejected += by_scene < 0.05, mcnemar(first, second).p < 0.05
    assert 0.015 < rejected[0] / 300 < 0.085
    if scene > 1:
        assert rejected[1] / 300 > 0.1  # what taking the videos as independent would do


def test_groups_of_one_video_are_independent_videos() -> None:
    results = {"a": scores_of(*range(9)), "b": scores_of(0, 9)}
    alone = compare(results, LABELS)
    assert compare(results, LABELS, groups=list("abcdefghij")) == alone | {"groups": 10}


@pytest.mark.parametrize("count", [1, 5])
def test_five_groups_or_fewer_say_nothing(count: int) -> None:
    gains, sizes = np.full(count, 3), np.full(count, 4)
    assert sign_flip_test(gains) > 0.05
    assert sign_flip_interval(gains, sizes) == (-1, 1)


def test_the_interval_is_what_the_test_lets_stand() -> None:
    """The slow reference tests every gain, with all signs of every group."""
    gains, sizes = np.array([3, 1, 0, -1, 2, 2, 4, 0]), np.array([6, 3, 2, 4, 2, 7, 5, 1])
    signs = np.array(list(itertools.product((-1, 1), repeat=len(gains))))
    stands = []
    for gain in np.linspace(-1, 1, 2001):
        left = gains - gain * sizes
        if (np.abs(signs @ left) >= abs(left.sum()) - 1e-9).mean() >= 0.05:
            stands.append(gain)
    assert sign_flip_interval(gains, sizes) == pytest.approx((stands[0], stands[-1]), abs=0.001)
    assert sign_flip_interval(-gains, sizes) == pytest.approx((-stands[-1], -stands[0]), abs=0.001)


@example(groups=[(1, 4)] * 6)
@example(groups=[(-1, 4)] * 7)
@given(
    groups=st.lists(
        st.tuples(st.integers(-3, 4), st.integers(4, 9)), min_size=1, max_size=9
    )
)  # fmt: skip
def test_0_is_in_the_interval_just_where_p_is_not_below_5_percent(
    groups: list[tuple[int, int]],
) -> None:
    gains, sizes = np.array(groups).T
    low, high = sign_flip_interval(gains, sizes)
    assert (low <= 0 <= high) == (sign_flip_test(gains) >= 0.05)
    assert low <= gains.sum() / sizes.sum() <= high


@pytest.mark.parametrize(
    ("gain", "expected"),
    [(10, (0.68, 1)), (0, (0, 0)), (4, (0.0866, 0.7134)), (-1, (-0.4444, -0.0125))],
)
def test_groups_that_gain_alike_are_no_certainty(gain: int, expected: tuple[float, float]) -> None:
    """Of 10 videos in each of 8 groups: as wide as Wilson's interval of the share; p is 1 / 128."""
    interval = sign_flip_interval(np.full(8, gain), np.full(8, 10))
    assert interval == pytest.approx(expected, abs=0.005)


def test_a_pair_has_one_interval_whatever_else_is_compared() -> None:
    rng = np.random.default_rng(0)
    results = {name: (rng.random(600) < 0.8).astype(int) for name in "abc"}
    labels, groups = np.ones(600, int), np.repeat(np.arange(100), 6).astype(str)
    pairs = compare(results, labels, groups=groups)["pairs"]
    swapped = compare({name: results[name] for name in "cb"}, labels, groups=groups)["pairs"][0]
    low, high = pairs[2]["interval"]
    assert (pairs[2]["first"], pairs[2]["second"]) == ("b", "c")
    assert swapped["interval"] == [-high, -low]


@pytest.mark.parametrize(
    ("scenes", "scene", "truth"), [(300, 1, 0.07), (30, 6, 0.0), (9, 6, 0.0), (9, 12, 0.1)]
)
def test_the_interval_covers_the_truth_as_often_as_it_says(
    scenes: int, scene: int, truth: float
) -> None:
    """`benchmarks/interval_coverage.py` does it more often. Of 9 scenes a bootstrap's did in 85 to
    90 %; here only whole subsets of them are compared, which is cautious where answers agree."""
    rng, covered = np.random.default_rng(scenes), 0
    for _ in range(200):
        gains = np.zeros(scenes, dtype=np.int64)
        for share, sign in ((0.8, 1), (0.8 - truth, -1)):
            of_scene = rng.random(scenes) < share
            own = rng.binomial(scene, share, scenes)
            gains += sign * np.where(rng.random(scenes) < 0.5, scene * of_scene, own)
        low, high = sign_flip_interval(gains, np.full(scenes, scene), rng=rng, draws=1000)
        covered += low <= truth <= high
    assert covered / 200 >= 0.92


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
    gains = np.repeat([1, 0], [discordant, videos - discordant])
    difference = smallest_difference(gains, np.ones(videos))
    assert difference is not None
    rng = np.random.default_rng(0)
    share = discordant / videos
    odds = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    drawn = rng.multinomial(videos, odds, size=2000)
    found = np.mean([sign_test(one, other) < 0.05 for one, other, _ in drawn])
    assert 0.76 < found < 0.84
    assert math.isclose(difference, (1.96 + 0.84) * math.sqrt(share / videos), rel_tol=0.02)


def test_the_smallest_difference_of_scenes_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    smallest, found = [], 0
    for _ in range(20):
        gains, sizes = group_gains(*drawn_pair(rng, scene=4, shared=0.53, accuracies=(0.8, 0.8)))
        smallest.append(smallest_difference(gains, sizes) or 0)
    half = float(np.mean(smallest)) / 2
    for _ in range(300):
        pair = drawn_pair(rng, scene=4, shared=0.53, accuracies=(0.8 + half, 0.8 - half))
        found += sign_flip_test(group_gains(*pair).gains) < 0.05
    assert 0.7 < found / 300 < 0.9


@pytest.mark.parametrize(
    ("gains", "known"), [([1] * 7, False), ([1] * 8, True), ([3] * 7, False), ([], False)]
)
def test_too_few_gains_show_nothing(gains: list[int], known: bool) -> None:
    padded = np.array([*gains, *[0] * 50])
    assert (smallest_difference(padded, np.full(len(padded), 4)) is not None) == known


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
    assert (result["test"], result["unit"], result["groups"]) == ("McNemar", "videos", None)
    assert [pair["significant"] for pair in result["pairs"]] == [False] * 3


def test_predicted_classes_and_scores_are_compared_alike() -> None:
    results = {"a": scores_of(*range(9)), "b": scores_of(0, 9)}
    predicted = {name: scores.argmax(axis=1) for name, scores in results.items()}
    assert compare(predicted, LABELS) == compare(results, LABELS)
    with pytest.raises(InputError, match="not so: b"):
        compare({"a": LABELS, "b": LABELS.astype(float)}, LABELS)


def test_no_star_beside_an_interval_that_holds_0() -> None:
    rng, stars = np.random.default_rng(0), 0
    for _ in range(30):
        first, second, scenes = drawn_pair(rng, scene=4, shared=0.6, accuracies=(0.82, 0.75))
        results = {"a": first.astype(int), "b": second.astype(int)}
        (pair,) = compare(results, np.ones(600, int), groups=scenes.astype(str))["pairs"]
        low, high = pair["interval"]
        assert not (pair["significant"] and low <= 0 <= high)
        assert pair["significant"] <= (pair["p_holm"] < 0.05)
        stars += pair["significant"]
    assert 5 < stars < 28


def test_videos_without_label_are_left_out() -> None:
    labels = LABELS.copy()
    labels[9] = -1
    results = {"a": scores_of(*range(9)), "b": scores_of(0, 9)}
    result = compare(results, labels, rng=0, groups=list("aabbccddee"))
    assert result["videos"] == 9
    assert (result["test"], result["unit"]) == ("sign flips of groups", "groups")
    assert result["groups"] == 5
    assert result["pairs"][0]["p"] == pytest.approx(2 / 2**5)  # gains of 1, 2, 2, 2 and 1
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
    a, b = np.array([1, 1, 0, 0]), np.array([1, 1, 1, 1])
    labels = np.array([1, 1, 0, -1])
    assert class_accuracy({"a": a, "b": b}, labels, ("x", "y")) == [
        {"class": "x", "videos": 1, "correct": {"a": 1, "b": 0}},
        {"class": "y", "videos": 2, "correct": {"a": 2, "b": 2}},
    ]
