"""Results over several splits and seeds: means, and paired tests within the splits.

The accuracy of a result is the mean over the splits, as the field reports it, and over the seeds.
Splits overlap: in HMDB51 a video is in several test lists, and so are films. So groups (videos
where no groups are known) are followed through all splits: answers on the same group, whichever
network gave them, are never taken as independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from fusion.combining.fuse import VideoScores
from fusion.evaluation.comparison import holm, sign_flip_interval, sign_flip_test
from fusion.evaluation.metrics import percent, share_interval
from fusion.tables.join import JoinedTables
from twostream_base.errors import InputError

Seed = int | None
_TINY = 1e-12  # what rounding may leave of a difference of shares
_ROUNDING = 0.03  # how far the whole-number weight of a split may be from its exact one


@dataclass(frozen=True, eq=False)
class SplitAnswers:
    """Which videos of one split each result gets right.

    Attributes:
        split: its number, or what else it is called.
        names: V videos, those that have a label.
        groups: the scene, film or source of each, or None where it is not known.
        right: for each result, and each of its seeds (None where there is but one), bool (V,).
    """

    split: int | str
    names: Sequence[str]
    groups: Sequence[str] | None
    right: Mapping[str, Mapping[Seed, np.ndarray]]


def split_answers(
    split: int | str,
    videos: JoinedTables | VideoScores,
    right: Mapping[str, Mapping[Seed, np.ndarray]],
) -> SplitAnswers:
    """The answers on the labelled ones of `videos`; `right` is of these alone."""
    known = np.flatnonzero(videos.labels >= 0)
    groups = videos.groups
    return SplitAnswers(
        split,
        [videos.names[row] for row in known],
        None if groups is None else [groups[row] for row in known],
        right,
    )


def compare_over_splits(
    splits: Sequence[SplitAnswers],
    *,
    against: str | None = None,
    all_pairs: bool = False,
    rng: int = 0,
) -> dict[str, Any]:
    """Results over splits and seeds, and how each differs from the best, as JSON values.

    `systems` has of each result the counts of each split and seed, the mean over the splits, its
    95 % interval by whole groups and, over several seeds, their standard deviation (n - 1). `pairs`
    has differences of these means in percent points, with

    - `p`, exact, by sign flips of whole groups: if neither result were better, exchanging them in
      any group, in all splits and seeds at once, would change nothing. `p_holm` is corrected for
      all pairs of results;
    - `interval`: 95 %, the differences that this test does not reject (`sign_flip_interval`);
    - `seeds`, where both have two or more of the same: in how many the first is better, and the
      95 % interval of the mean difference over seeds (paired t);
    - `significant`: p_holm below 0.05, and neither interval holds 0.

    Args:
        splits: each with the same results.
        against: the result that the others are compared with; by default the best.
        all_pairs: compare each with each, not only with that one.
        rng: the seed of the intervals; each pair has the same.

    Raises:
        InputError: a result that one of the splits lacks, or no videos.
    """
    results = list(splits[0].right)
    for answers in splits:
        if list(answers.right) != results or not len(answers.names):
            raise InputError(
                f"split {answers.split} has {len(answers.names)} videos with labels, and the "
                f"results {', '.join(answers.right)}; expected {', '.join(results)}"
            )
    numbers = link_groups(splits)
    groups = max(int(of_split.max()) for of_split in numbers) + 1
    sizes = np.stack([np.bincount(n, minlength=groups) for n in numbers], axis=1)
    systems = [_system(name, splits, numbers, sizes) for name in results]
    percents = {system["name"]: system["percent"] for system in systems}
    best = max(results, key=lambda name: percents[name])
    against = against or best
    weights = whole_weights(sizes.sum(axis=0))
    pairs = []
    for a, b in combinations(results, 2):
        first, second = (b, a) if b == against and not all_pairs else (a, b)
        gains, scale = _gains(first, second, splits, numbers, groups)
        pairs.append((first, second, gains, scale, sign_flip_test(gains @ weights)))
    adjusted = holm([p for *_, p in pairs])
    rows = []
    for (first, second, gains, scale, p), p_holm in zip(pairs, adjusted, strict=True):
        if not all_pairs and first != against:
            continue
        means = gains.sum(axis=0) / sizes.sum(axis=0) / scale
        low, high = sign_flip_interval(gains @ weights, scale * sizes @ weights, rng=rng)
        over_seeds = _over_seeds(first, second, splits)
        intervals = [[low, high]]
        if over_seeds:
            intervals.append(over_seeds["interval"])
        rows.append(
            {
                "first": first,
                "second": second,
                "difference": percent(means.mean()),
                "splits": [percent(mean) for mean in means],
                "interval": [percent(low), percent(high)],
                "p": p,
                "p_holm": p_holm,
                "seeds": over_seeds,
                "significant": p_holm < 0.05 and not any(a <= 0 <= b for a, b in intervals),
            }
        )
    known = all(answers.groups is not None for answers in splits)
    return {
        "splits": [answers.split for answers in splits],
        "videos": len({name for answers in splits for name in answers.names}),
        "answers": sum(len(answers.names) for answers in splits),
        "groups": groups if known else None,
        "best": best,
        "systems": systems,
        "pairs": rows,
        "tested": len(pairs),
    }


def link_groups(splits: Sequence[SplitAnswers]) -> list[np.ndarray]:
    """A number from 0 for the group of each video, int64 (V,) for each split.

    A group of the same name, or with a video in common, is the same in all splits. Where one split
    knows no groups, each video is a group.
    """
    known = all(answers.groups is not None for answers in splits)
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for answers in splits:
        for name, group in zip(answers.names, answers.groups or answers.names, strict=True):
            video = root(("video", name))
            if known:
                parent[video] = root(("group", group))
    index: dict[tuple[str, str], int] = {}
    return [
        np.array([index.setdefault(root(("video", name)), len(index)) for name in answers.names])
        for answers in splits
    ]


def whole_weights(sizes: np.ndarray) -> np.ndarray:
    """Whole numbers, int64 (S,), nearly proportional to 1 / sizes: what a video of a split counts.

    Splits of nearly the same size count alike. The smallest such numbers that are within 3 % of the
    exact ones, or the nearest below 50.
    """
    exact = sizes.max() / sizes
    best, error = np.ones(len(sizes), dtype=np.int64), np.inf
    for factor in range(1, 50):
        rounded = np.maximum(1, np.rint(factor * exact))
        off = float(np.abs(rounded / (factor * exact) - 1).max())
        if off < error - 1e-12:
            best, error = rounded.astype(np.int64), off
        if error <= _ROUNDING:
            break
    return best


def _system(
    name: str, splits: Sequence[SplitAnswers], numbers: Sequence[np.ndarray], sizes: np.ndarray
) -> dict[str, Any]:
    seeds = list(splits[0].right[name])
    rows, by_seed = [], np.zeros((len(splits), len(seeds)))
    right = np.zeros(sizes.shape, dtype=np.int64)
    for number, answers in enumerate(splits):
        of_seeds = [answers.right[name][seed] for seed in seeds]
        counts = [int(of_seed.sum()) for of_seed in of_seeds]
        by_seed[number] = np.array(counts) / len(answers.names)
        right[:, number] = np.bincount(
            numbers[number], weights=np.sum(of_seeds, axis=0), minlength=len(right)
        )
        rows.append(
            {
                "split": answers.split,
                "correct": counts,
                "of": len(answers.names),
                "percent": percent(by_seed[number].mean()),
                "sd": _deviation(by_seed[number]),
            }
        )
    videos = len({video for answers in splits for video in answers.names})
    low, high = share_interval(right, sizes, len(seeds), videos=videos)
    return {
        "name": name,
        "seeds": seeds,
        "splits": rows,
        "percent": percent(by_seed.mean()),
        "sd": _deviation(by_seed.mean(axis=0)),
        "interval": [percent(low), percent(high)],
    }


def _gains(
    first: str,
    second: str,
    splits: Sequence[SplitAnswers],
    numbers: Sequence[np.ndarray],
    groups: int,
) -> tuple[np.ndarray, int]:
    """What the first gains on the second in each group and split, int64 (G, S); and its scale.

    Each counts by the mean over all its seeds, as in the table. A gain of `scale` is one video.
    """
    gains, scale = np.zeros((groups, len(splits)), dtype=np.int64), 1
    for number, answers in enumerate(splits):
        of_a, of_b = (list(answers.right[name].values()) for name in (first, second))
        scale = math.lcm(len(of_a), len(of_b))
        of_video = scale // len(of_a) * np.sum(of_a, axis=0, dtype=np.int64)
        of_video -= scale // len(of_b) * np.sum(of_b, axis=0, dtype=np.int64)
        sums = np.bincount(numbers[number], weights=of_video, minlength=groups)
        gains[:, number] = np.rint(sums).astype(np.int64)
    return gains, scale


def _over_seeds(first: str, second: str, splits: Sequence[SplitAnswers]) -> dict[str, Any] | None:
    """How a difference holds over the seeds that both have; None for fewer than two."""
    common = [seed for seed in splits[0].right[first] if seed in splits[0].right[second]]
    if len(common) < 2:
        return None
    from scipy.special import stdtr, stdtrit

    by_split = []
    for answers in splits:
        of_first, of_second = answers.right[first], answers.right[second]
        gains = [of_first[seed].sum() - of_second[seed].sum() for seed in common]
        by_split.append(np.array(gains) / len(answers.names))
    differences = np.mean(by_split, axis=0)
    mean, freedom = float(differences.mean()), len(common) - 1
    error = float(differences.std(ddof=1)) / math.sqrt(len(common))
    half = float(stdtrit(freedom, 0.975)) * error
    if error > _TINY:
        p = 2 * float(stdtr(freedom, -abs(mean) / error))
    else:  # the same difference in all seeds
        p = float(abs(mean) <= _TINY)
    return {
        "seeds": len(common),
        "better": int((differences > 0).sum()),
        "worse": int((differences < 0).sum()),
        "sd": _deviation(differences),
        "interval": [percent(mean - half), percent(mean + half)],
        "p": p,
    }


def _deviation(values: np.ndarray) -> float | None:
    """Standard deviation (n - 1) in percent points; None of one value."""
    return percent(values.std(ddof=1)) if len(values) > 1 else None
