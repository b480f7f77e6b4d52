from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from fusion.evaluation.comparison import compare
from fusion.evaluation.metrics import group_interval, t_975, wilson_interval
from fusion.evaluation.pooled import SplitAnswers, compare_over_splits, link_groups, whole_weights
from twostream_base.errors import InputError


def answers(
    split: int, names: str, groups: str | None = None, **right: str | list[str]
) -> SplitAnswers:
    """Names and groups of a letter each; right as 0 and 1, a text for each seed."""
    texts = {name: [value] if isinstance(value, str) else value for name, value in right.items()}
    return SplitAnswers(
        split,
        list(names),
        None if groups is None else list(groups),
        {
            name: {
                seed if len(of_seeds) > 1 else None: np.array([c == "1" for c in text])
                for seed, text in enumerate(of_seeds)
            }
            for name, of_seeds in texts.items()
        },
    )


def test_means_and_counts_of_each_split() -> None:
    result = compare_over_splits(
        [answers(1, "abcd", a="1110", b="1000"), answers(2, "ef", a="10", b="11")]
    )
    a, b = result["systems"]
    assert [(row["correct"], row["of"]) for row in a["splits"]] == [([3], 4), ([1], 2)]
    assert (a["percent"], b["percent"], a["sd"]) == (62.5, 62.5, None)
    (pair,) = result["pairs"]
    assert (pair["difference"], pair["splits"]) == (0.0, [50.0, -50.0])
    assert (result["videos"], result["answers"], result["groups"]) == (6, 6, None)


def test_all_right_is_no_certainty() -> None:
    """Wilson's intervals of the videos of two splits of 3 and 2, which count 1/6 and 1/4 each.

    They say as much as 4.8 videos that count alike, or less: as few as t with 3 degrees makes them.
    """
    result = compare_over_splits(
        [answers(1, "abc", a="111", b="000"), answers(2, "de", a="11", b="00")]
    )
    count = 1 / (3 / 6**2 + 2 / 4**2) * (1.96 / t_975(3)) ** 2
    low, high = (100 * end for end in wilson_interval(count, count))
    assert result["systems"][0]["interval"] == pytest.approx([low, high], abs=1e-3)
    assert result["systems"][1]["interval"] == pytest.approx([100 - high, 100 - low], abs=1e-3)


def test_p_is_that_of_all_signs_of_whole_groups() -> None:
    """Group x is in both splits: its gains go together; the slow reference flips every group."""
    splits = [
        answers(1, "abcde", "xxyzw", first="11101", second="00010"),
        answers(2, "afgh", "xxuv", first="1111", second="0010"),
    ]
    (pair,) = compare_over_splits(splits)["pairs"]
    gains = {"x": 2 + 2, "y": 1, "z": -1, "w": 1, "u": 0, "v": 1}
    # 5 videos and 4: whole numbers nearest to 1/5 : 1/4 are 4 and 5
    weighted = {"x": 4 * 2 + 5 * 2, "y": 4, "z": -4, "w": 4, "u": 0, "v": 5}
    assert whole_weights(np.array([5, 4])).tolist() == [4, 5]
    observed = sum(weighted.values())
    sums = [
        abs(np.dot(signs, list(weighted.values()))) >= abs(observed)
        for signs in product((-1, 1), repeat=len(gains))
    ]
    assert pair["p"] == pytest.approx(np.mean(sums))


def test_one_split_is_as_compare_has_it() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((2, 300)) < [[0.8], [0.7]]
    groups = [f"g{row // 3}" for row in range(300)]
    part = SplitAnswers(
        1, [f"v{row}" for row in range(300)], groups,
        {"a": {None: right[0]}, "b": {None: right[1]}},
    )  # fmt: skip
    (pooled,) = compare_over_splits([part])["pairs"]
    truth = np.ones(300, dtype=np.int64)
    (alone,) = compare(
        {"a": right[0].astype(np.int64), "b": right[1].astype(np.int64)}, truth, groups=groups
    )["pairs"]
    assert pooled["p"] == pytest.approx(alone["p"])
    assert pooled["difference"] == pytest.approx(alone["difference"])
    assert pooled["interval"] == alone["interval"]
    one_split = compare_over_splits([part])["systems"]
    for system in one_split:
        low, high = group_interval(part.right[system["name"]][None], groups)
        assert system["interval"] == pytest.approx([100 * low, 100 * high], abs=0.1)


def test_intervals_of_accuracies_are_those_of_the_jackknife_of_whole_groups() -> None:
    """The slow reference leaves out a group at a time, in both splits, and counts again."""
    names, groups = "abcdefgh", "uuvvwxyz"
    parts = [
        answers(1, names, groups, a="11101110", b="10101010"),
        answers(2, "abgij", "uuypq", a="10110", b="00101"),
    ]

    def mean(without: str | None = None) -> float:
        shares = []
        for part in parts:
            kept = [group != without for group in part.groups or ()]
            shares.append(part.right["a"][None][kept].mean())
        return float(np.mean(shares))

    everybody = sorted({group for part in parts for group in part.groups or ()})
    changed = [mean(group) for group in everybody]
    variance = (len(changed) - 1) / len(changed) * ((changed - np.mean(changed)) ** 2).sum()
    effect = max(1, 10 * variance / (mean() * (1 - mean())))
    counts = ([2, 2, 1, 1, 1, 1, 0, 0], [2, 0, 0, 1, 0, 0, 1, 1])  # of u to z, p and q in each
    weights = np.mean([np.array(of) / sum(of) for of in counts], axis=0)
    effective_groups = 1 / (weights**2).sum()
    most = 10 / effective_groups
    if effect < most:
        effect = ((effective_groups - 1) * effect + 2 * most) / (effective_groups + 1)
    videos = 10 / effect * (1.96 / stats.t.ppf(0.975, int(effective_groups) - 1)) ** 2
    system = compare_over_splits(parts)["systems"][0]
    low, high = wilson_interval(mean() * videos, videos)
    assert system["interval"] == pytest.approx([100 * low, 100 * high], abs=0.1)


def test_one_group_in_a_split_tells_nothing() -> None:
    parts = [answers(1, "abc", "xyz", a="110", b="010"), answers(2, "de", "vv", a="10", b="11")]
    result = compare_over_splits(parts)
    assert [system["interval"] for system in result["systems"]] == [[0.0, 100.0]] * 2
    assert result["pairs"][0]["interval"] == [-100.0, 100.0]


@pytest.mark.parametrize("groups", [9, 30])
def test_intervals_over_overlapping_splits_hold_the_truth(groups: int) -> None:
    """Of 300 results on few scenes: 80 to 90 % did when groups were drawn (bootstrap)."""
    rng, held = np.random.default_rng(groups), 0
    scenes, size = np.repeat(np.arange(groups), 6), 6 * groups
    for _ in range(300):
        of_scenes = (rng.random((3, groups)) < 0.8)[:, scenes]
        right = np.where(rng.random((3, size)) < 0.5, of_scenes, rng.random((3, size)) < 0.8)
        member = rng.random((3, size)) < 0.4
        parts = [
            SplitAnswers(
                split,
                [f"v{video}" for video in np.flatnonzero(member[split])],
                [f"s{scene}" for scene in scenes[member[split]]],
                {"a": {None: right[split, member[split]]}},
            )
            for split in range(3)
        ]
        low, high = compare_over_splits(parts)["systems"][0]["interval"]
        held += low <= 80 <= high
    assert held / 300 >= 0.92  # nine are too few to tell how much they differ: cautious


def test_groups_are_followed_through_the_splits() -> None:
    """Video a links group x of one split to group k of the other."""
    first, second = link_groups([answers(1, "abc", "xxy"), answers(2, "adb", "kmk")])
    assert first.tolist() == [0, 0, 1]
    assert second.tolist() == [0, 2, 0]
    unknown, known = link_groups([answers(1, "abc"), answers(2, "ad", "kk")])
    assert (unknown.tolist(), known.tolist()) == ([0, 1, 2], [0, 3])


@pytest.mark.parametrize(
    ("sizes", "weights"),
    [([1530, 1530], [1, 1]), ([3783, 3734, 3696], [1, 1, 1]), ([1000, 100], [1, 10]),
     ([300, 200], [2, 3])],
)  # fmt: skip
def test_a_video_of_a_smaller_split_counts_more(sizes: list[int], weights: list[int]) -> None:
    assert whole_weights(np.array(sizes)).tolist() == weights


def test_seeds_have_a_deviation_and_a_test_of_their_own() -> None:
    one, two = (
        ["1111111100", "1111111000", "1111111110"],
        ["1111110000", "1111100000", "1111111000"],
    )
    result = compare_over_splits([answers(1, "abcdefghij", a=one, b=two)])
    a, b = result["systems"]
    assert (a["percent"], a["sd"]) == (80.0, 10.0)  # of 80, 70 and 90 %
    assert a["splits"][0]["correct"] == [8, 7, 9]
    (pair,) = result["pairs"]
    assert pair["difference"] == 20.0
    assert pair["seeds"] == {
        "seeds": 3, "better": 3, "worse": 0, "sd": 0.0, "interval": [20.0, 20.0], "p": 0.0,
    }  # fmt: skip
    assert not pair["significant"]  # the same in all seeds, but of three videos


def test_what_differs_over_seeds_does_not_hold() -> None:
    """Better by far in one seed, worse in two: the videos differ, the networks do not."""
    many = "".join(chr(0x4E00 + i) for i in range(200))
    a = ["1" * 200, "0" * 20 + "1" * 180, "0" * 20 + "1" * 180]
    b = ["0" * 160 + "1" * 40, "1" * 200, "1" * 200]
    (pair,) = compare_over_splits([answers(1, many, a=a, b=b)])["pairs"]
    assert pair["p_holm"] < 0.05
    assert pair["interval"][0] > 0
    assert (pair["seeds"]["better"], pair["seeds"]["worse"]) == (1, 2)
    assert pair["seeds"]["interval"][0] < 0
    assert not pair["significant"]


def test_results_that_a_split_lacks() -> None:
    with pytest.raises(InputError, match="split 2 has 1 videos with labels, and the results a"):
        compare_over_splits([answers(1, "a", a="1", b="0"), answers(2, "a", a="1")])
