from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom, norm, t

from fusion.evaluation.metrics import (
    accuracy_summary,
    evaluate,
    group_interval,
    mean_class_accuracy,
    share_interval,
    t_975,
    top_k_correct,
    wilson_interval,
)
from twostream_base.errors import InputError

SCORES = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])


def test_top_k_counts_the_true_class_among_the_k_highest() -> None:
    labels = np.array([0, 1, 0, 1])
    assert [top_k_correct(SCORES, labels, k) for k in (1, 2, 3)] == [2, 4, 4]


@given(
    scores=arrays(np.float64, (6, 4), elements=st.sampled_from([0.0, 0.5, 1.0])),
    labels=arrays(np.int64, 6, elements=st.integers(0, 3)),
    k=st.integers(1, 5),
)
def test_top_k_is_the_slow_ranking(scores: np.ndarray, labels: np.ndarray, k: int) -> None:
    rankings = [sorted(range(4), key=lambda c: (-row[c], c)) for row in scores]
    hits = [label in ranking[:k] for label, ranking in zip(labels, rankings, strict=True)]
    assert top_k_correct(scores, labels, k) == sum(hits)
    assert top_k_correct(scores, labels, 1) == (scores.argmax(axis=1) == labels).sum()


def test_mean_class_accuracy_weighs_classes_not_videos() -> None:
    labels = np.array([0, 2, 2, 2])  # class 0: 1 of 1, class 2: 1 of 3, class 1: no video
    assert mean_class_accuracy(SCORES, labels) == (pytest.approx((1 + 1 / 3) / 2), 2)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(904, 1530, 56.6, 61.5), (924, 1530, 57.9, 62.8), (3241, 3783, 84.5, 86.8),
     (3308, 3783, 86.3, 88.5)],
)  # fmt: skip
def test_wilson_intervals_of_the_lab_notes(k: int, n: int, low: float, high: float) -> None:
    assert [round(100 * end, 1) for end in wilson_interval(k, n)] == [low, high]


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share(counts: tuple[int, int]) -> None:
    k, n = counts
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n + 1e-12
    assert k / n - 1e-12 <= high <= 1
    assert wilson_interval(n - k, n) == pytest.approx((1 - high, 1 - low))


def test_summary_leaves_out_and_counts_videos_without_label() -> None:
    summary = accuracy_summary(SCORES, np.array([0, -1, 1, -1]))
    assert summary["top1"] == {
        "correct": 1, "of": 2, "percent": 50.0, "interval": [9.4531, 90.5469],
    }  # fmt: skip
    assert summary["top5"]["correct"] == 2  # there are but three classes
    assert summary["mean_class"] == {"percent": 50.0, "classes": 2}
    assert (summary["unlabelled"], summary["groups"]) == (2, None)


def test_an_interval_by_groups() -> None:
    """Against the jackknife and the formulas of Rao and Scott, and Korn and Graubard; two groups
    more are counted as one video each."""
    rng = np.random.default_rng(0)
    groups = [f"g{number}" for number in rng.integers(0, 9, 60)]
    alike = 60**2 / sum(groups.count(name) ** 2 for name in set(groups))  # groups of equal size
    for accuracy in (0.3, 0.8, 1.0):
        right = rng.random(60) < accuracy
        low, high = group_interval(right, groups)
        share = right.mean()
        if share < 1:
            without = [
                right[[group != name for group in groups]].mean() for name in sorted(set(groups))
            ]
            variance = 8 / 9 * ((without - np.mean(without)) ** 2).sum()
            effect = max(1, variance / (share * (1 - share) / 60))
            effect = (effect * (alike - 1) + 2 * 60 / alike) / (alike + 1)
        else:
            effect = 60 / alike
        effective = 60 / effect * (norm.ppf(0.975) / t.ppf(0.975, int(alike) - 1)) ** 2
        expected = wilson_interval(share * effective, effective)
        np.testing.assert_allclose((low, high), expected, rtol=0, atol=1e-5)


def test_groups_that_say_nothing_and_groups_of_one() -> None:
    right = np.array([True, True, True, False])
    assert group_interval(right, ["a"] * 4) == (0, 1)
    assert group_interval(right, list("abcd")) == wilson_interval(3, 4)
    low, high = group_interval(np.repeat(right, 5), [f"g{n // 5}" for n in range(20)])
    assert (low, high) == pytest.approx(wilson_interval(*(np.array([3, 4]) * 0.2843)), abs=1e-3)
    assert group_interval(np.ones(20, bool), [f"g{n // 5}" for n in range(20)])[0] < low + 0.3


def test_splits_of_unequal_size_are_not_one_list_of_videos() -> None:
    """5 of 10 and 900 of 1,000 videos, none in both: the mean is as unsure as the small split."""
    sizes = np.repeat(np.eye(2, dtype=np.int64), [10, 1000], axis=0)
    right = sizes * np.repeat([1, 0, 1, 0], [5, 5, 900, 100])[:, None]
    low, high = share_interval(right, sizes, 1, videos=1010)
    assert low < 0.7 < high
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.25 / 10 + 0.09 / 1000) / 2, abs=0.015)


def test_all_right_in_splits_of_unequal_size() -> None:
    """10 and 1,000 videos: their mean is as unsure as that of 39.6 videos that count alike."""
    sizes = np.repeat(np.eye(2, dtype=np.int64), [10, 1000], axis=0)
    alike = 2**2 / (1 / 10 + 1 / 1000)
    count = alike * (1.96 / t.ppf(0.975, int(alike) - 1)) ** 2
    expected = wilson_interval(count, count)
    assert share_interval(sizes, sizes, 1, videos=1010) == pytest.approx(expected, abs=1e-4)
    same = np.full((20, 2), 2)  # the same 40 videos in both splits say as much as 40
    assert share_interval(same, same, 1, videos=40) == group_interval(
        np.ones(40, bool), [f"g{video // 2}" for video in range(40)]
    )


def test_every_quantile_of_t_is_near() -> None:
    for freedom in range(1, 200):
        assert t_975(freedom) == pytest.approx(t.ppf(0.975, freedom), abs=0.004)


def test_evaluation_by_groups() -> None:
    scores, labels = np.tile(SCORES, (3, 1)), np.tile([0, -1, 1, 0], 3)
    groups = ["a", "lost", "b", "c"] * 3
    summary = evaluate(scores, labels, groups)
    assert (summary["groups"], summary["top1"]["correct"], summary["top1"]["of"]) == (3, 6, 9)
    right = np.array([True, False, True] * 3)
    expected = [round(100 * end, 4) for end in group_interval(right, ["a", "b", "c"] * 3)]
    assert summary["top1"]["interval"] == expected
    assert evaluate(scores, labels)["top1"]["interval"] != expected
    with pytest.raises(InputError, match="1 groups for 12 videos"):
        evaluate(scores, labels, ["a"])


def test_summary_without_any_label() -> None:
    summary = accuracy_summary(SCORES, np.full(4, -1))
    assert summary["top1"] == {"correct": 0, "of": 0, "percent": None, "interval": None}
    assert summary["mean_class"] == {"percent": None, "classes": 0}


@pytest.mark.parametrize("n", [20, 56, 1530])
def test_wilson_intervals_cover_the_truth_as_often_as_they_say(n: int) -> None:
    """The coverage is summed over all k; that of Wilson's interval is 95 % on average."""
    intervals = np.array([wilson_interval(k, n) for k in range(n + 1)])
    coverage = []
    for truth in np.linspace(0.05, 0.95, 37):
        covered = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
        coverage.append(binom.pmf(np.flatnonzero(covered), n, truth).sum())
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.006)
    assert min(coverage) > 0.9


@pytest.mark.parametrize("shape", [(0, 4), (0, 3, 4), (0, 3, 2, 4)])
def test_evaluation_of_no_videos(shape: tuple[int, ...]) -> None:
    result = evaluate(np.empty(shape), np.empty(0, np.int64))
    assert (result["top1"]["of"], result["mean_class"]["classes"]) == (0, 0)


def test_evaluation_of_arrays_with_segments_and_crops() -> None:
    views = np.random.default_rng(0).normal(size=(50, 3, 2, 4))
    labels = np.arange(50) % 4
    labels[7] = -1
    whole = evaluate(views, labels)
    assert whole == evaluate(views.mean(axis=2), labels)
    assert whole == evaluate(views.mean(axis=(1, 2)).tolist(), labels.tolist())
    correct = int((views.mean(axis=(1, 2)).argmax(axis=1) == labels).sum())
    assert (whole["top1"]["correct"], whole["top1"]["of"], whole["unlabelled"]) == (correct, 49, 1)


@pytest.mark.parametrize(
    ("scores", "labels", "fact"),
    [
        (np.zeros(3), [0, 0, 0], r"scores \(3,\)"),
        (np.zeros((3, 2)), [0, 0], r"labels int64 \(2,\)"),
        (np.zeros((3, 2)), [0.5, 0, 0], "float64"),
        (np.zeros((3, 2)), [0, 1, 2], r"labels 0..2; allowed: -1..1"),
    ],
)
def test_what_cannot_be_evaluated(scores: np.ndarray, labels: list, fact: str) -> None:
    with pytest.raises(InputError, match=fact):
        evaluate(scores, labels)
