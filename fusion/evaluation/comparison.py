"""Paired comparison of results on the same videos: exact tests, intervals, complementarity.

`first` and `second` say for each video whether a result is right: bool (V,). The measures of pairs
are those of Kuncheva and Whitaker (Machine Learning 51, 2003, section 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fusion.combining.fuse import VideoScores, apply_step, fused_slices
from fusion.combining.probabilities import view_scores
from fusion.combining.step import MEAN, Step
from fusion.evaluation.metrics import (
    Z_95,
    count_groups,
    grouped_interval,
    jackknife_error,
    known_groups,
    percent,
    share,
    true_ranks,
    wilson_interval,
)
from fusion.tables.join import JoinedTables
from fusion.tables.score_file import ScoreTable, slices
from twostream_base.errors import InputError

_POWER_80, _LEVEL = 0.841621, 0.05
_TOO_FEW_GROUPS, _ALL_SUBSETS = 5, 13
_FEWEST_GAINS = 8  # with fewer, a power of 80 % is out of reach whatever the difference


class McNemar(NamedTuple):
    """Videos that only the first, and that only the second got right, and the exact p-value."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Exact two-sided test that both are right equally often (McNemar, 1947; binomial form).

    For videos that are independent of each other; else see `sign_flip_test`.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return McNemar(only_first, only_second, sign_flip_test(group_gains(first, second).gains))


class GroupGains(NamedTuple):
    """What the first result gains in each group, and the videos of the group: int64 (G,) both.

    A gain is the videos that only the first gets right, minus those that only the second does.
    """

    gains: np.ndarray
    sizes: np.ndarray


def group_gains(
    first: np.ndarray, second: np.ndarray, groups: Sequence[str] | None = None
) -> GroupGains:
    """The gains of whole `groups` (V,); without them, each video is a group of its own."""
    gains = first.astype(np.int64) - second.astype(np.int64)
    if groups is None:
        return GroupGains(gains, np.ones_like(gains))
    number = np.unique(np.asarray(groups), return_inverse=True)[1]
    return GroupGains(np.bincount(number, weights=gains).astype(np.int64), np.bincount(number))


def sign_flip_test(gains: np.ndarray) -> float:
    """Exact two-sided p of the sum of the `gains` of whole groups, int64 (G,).

    If neither result is better, exchanging them in any group changes nothing: each gain keeps its
    size and has either sign alike (Fisher's randomisation test, 1935). All 2^G signs count: gains
    of one size are binomial, and the sums of all sizes are convolved, so that p is exact for any
    number of groups. For groups of one video it is McNemar's exact test.
    """
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    observed, total = abs(int(gains.sum())), int((sizes * counts).sum())
    if observed == 0:
        return 1.0
    probs, lowest = np.ones(1), 0  # of the sum of the gains with a plus, from `lowest` on
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        logs = np.array([math.lgamma(k + 1) for k in range(count + 1)])
        binomial = np.exp(logs[-1] - logs - logs[::-1] - count * math.log(2))
        likely = np.flatnonzero(binomial)  # below 1e-308 nothing is left of a probability
        spaced = np.zeros(size * (likely[-1] - likely[0]) + 1)
        spaced[::size] = binomial[likely[0] : likely[-1] + 1]
        probs, lowest = np.convolve(probs, spaced), lowest + size * int(likely[0])
    tail = probs[: max(0, (total - observed) // 2 - lowest + 1)]
    return min(1.0, 2 * math.fsum(tail))


def sign_flip_interval(
    gains: np.ndarray, sizes: np.ndarray, *, rng: np.random.Generator | int = 0, draws: int = 10_000
) -> tuple[float, float]:
    """95 % interval, in -1..1, of the true gain per video: those that `sign_flip_test` lets stand.

    If the gain is d, the gains less d times the size have either sign alike. What is then not
    rejected at 5 % lies between the 2.5 and the 97.5 % quantile of the gains per video in subsets
    of the groups (typical values: Hartigan, Journal of the American Statistical Association 64,
    1969). So 0 is in the interval where p is 0.05 or more, and five groups or fewer say nothing:
    -1..1. All subsets count of up to 13 groups; of more, `draws` random ones and their complements,
    so that the two agree within the draws. Where all groups gain alike, they show no variance,
    though others may gain otherwise: then the interval is as wide as Wilson's of such a share of as
    many groups, but ends before 0 as p is below 0.05. Where no group gains anything, it is 0..0.

    Args:
        gains: of whole groups, int64 (G,). sizes: their videos, int64 (G,), at least one each.
    """
    if gains.sum() < 0:  # the same draws for either order of a pair
        low, high = sign_flip_interval(-gains, sizes, rng=rng, draws=draws)
        return 0.0 - high, 0.0 - low
    count, gained, videos = len(gains), gains.sum(), sizes.sum()
    if count > _TOO_FEW_GROUPS and gained and (gains * videos == gained * sizes).all():
        mean = float(gained / videos)
        low, high = wilson_interval(mean * count, count)
        half = max(mean - low, high - mean)
        return max(1 / float(videos), mean - half), min(1.0, mean + half)
    # Groups of the same gain and size are alike: how many of each kind are in a subset is binomial.
    kinds, counts = np.unique(np.stack([gains, sizes]), axis=1, return_counts=True)
    if count <= _ALL_SUBSETS:
        members = np.arange(2**count)[:, None] >> np.arange(count) & 1
        gained, videos = members @ gains, members @ sizes
    else:
        drawn = np.random.default_rng(rng).binomial(counts, 0.5, size=(draws, len(counts)))
        drawn = np.concatenate([drawn, counts - drawn])
        gained, videos = drawn @ kinds[0], drawn @ kinds[1]
    shares = gained / np.maximum(videos, 1)
    outside = int(0.025 * len(shares))  # at each end; no group at all speaks for any gain
    low = np.partition(np.where(videos, shares, -1.0), outside)[outside]
    high = np.partition(np.where(videos, shares, 1.0), -1 - outside)[-1 - outside]
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several tests so that 5 % bounds the risk of any false finding.

    Holm's step-down procedure (1979); the order is kept.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def smallest_difference(gains: np.ndarray, sizes: np.ndarray) -> float | None:
    """The smallest true difference of accuracies, in 0..1, that a test of these groups would find.

    Found with probability 0.8 at a level of 5 %, for gains as large as these (Connor, Biometrics
    1987, with the share of videos on which the two disagree held fixed; here the mean square of the
    gains). None where fewer than 8 groups have a gain: too few to find anything so often.
    """
    videos = int(sizes.sum())
    square, crowding = (float((of_groups**2).sum()) / videos for of_groups in (gains, sizes))

    def is_found(difference: float) -> bool:
        left = max(0.0, square - crowding * difference**2)
        spread = Z_95 * math.sqrt(square) + _POWER_80 * math.sqrt(left)
        return difference * math.sqrt(videos) >= spread

    low, high = 0.0, float(np.abs(gains).sum()) / videos
    if np.count_nonzero(gains) < _FEWEST_GAINS or not is_found(high):
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def compare(
    results: Mapping[str, ArrayLike],
    labels: ArrayLike,
    *,
    rng: int = 0,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compare the top-1 answers of several results, as JSON values.

    Each pair has the videos that only one result got right, the exact p-value `p`, also after
    Holm's correction for all pairs (`p_holm`), the difference in percent points with its 95 %
    `interval`, the differences that this test does not reject, and the `smallest` difference that
    such videos can show. With `groups` all of them are by whole groups (`sign_flip_test`), else for
    independent videos (McNemar); `test` says which. `significant` are the pairs with a `p_holm`
    below 0.05 and an interval without 0.
    Videos without a label (-1) are left out.

    Args:
        results: for each its scores (V, C), or the classes (V,) that it predicts, whole numbers.
        rng: the seed of the intervals; each pair has the same, whatever else is compared.
        groups: the scene, film or source of each video (V,), where it is known.

    Raises:
        InputError: fewer than two results, other shapes, or no labels.
    """
    truth = np.asarray(labels)
    arrays = {name: np.asarray(scores) for name, scores in results.items()}
    known = truth >= 0
    if len(arrays) < 2 or not known.any():
        raise InputError("a comparison needs two results, and videos with a label")
    if misshapen := [
        name
        for name, a in arrays.items()
        if len(a) != len(truth) or not (a.ndim == 2 or (a.ndim == 1 and a.dtype.kind in "iu"))
    ]:
        raise InputError(
            f"scores must be ({len(truth)} videos, classes); not so: {', '.join(misshapen)}"
        )
    right = {
        name: (a.argmax(axis=1) if a.ndim == 2 else a)[known] == truth[known]
        for name, a in arrays.items()
    }
    if groups is not None:
        groups = known_groups(groups, known)
    pairs: list[dict[str, Any]] = []
    for a, b in combinations(right, 2):
        gains, sizes = group_gains(right[a], right[b], groups)
        interval = sign_flip_interval(gains, sizes, rng=rng)
        smallest = smallest_difference(gains, sizes)
        pairs.append(
            {
                "first": a,
                "second": b,
                "only_first": int((right[a] & ~right[b]).sum()),
                "only_second": int((right[b] & ~right[a]).sum()),
                "p": sign_flip_test(gains),
                "difference": percent(gains.sum() / sizes.sum()),
                "interval": [percent(end) for end in interval],
                "smallest": None if smallest is None else percent(smallest),
            }
        )
    for pair, adjusted in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        low, high = pair["interval"]
        pair["p_holm"] = adjusted
        pair["significant"] = adjusted < _LEVEL and not low <= 0 <= high
    systems = [{"name": name, **share(hits, groups)} for name, hits in right.items()]
    count = count_groups(groups)
    independent = count in (None, int(known.sum()))
    return {
        "videos": int(known.sum()),
        "groups": count,
        "systems": systems,
        "pairs": pairs,
        "test": "McNemar" if independent else "sign flips of groups",
        "unit": "videos" if independent else "groups",
    }


def complementarity(streams: VideoScores) -> dict[str, Any]:
    """How the streams' mistakes go together, as JSON values.

    `oracle` counts the videos that at least one stream gets right: no choice among them does better
    (a fusion of scores may). For each pair: `q`, Yule's Q of being right, 1 for streams that are
    right together, 0 for independent ones, -1 for opposite ones, None where it is not defined; and
    `double_fault`, the videos that both get wrong.
    """
    known = streams.labels >= 0
    right = {
        key: scores[known].argmax(axis=1) == streams.labels[known]
        for key, scores in streams.scores.items()
    }
    groups = known_groups(streams.groups, known)
    any_right = np.any(list(right.values()), axis=0)
    return {
        "oracle": share(any_right, groups),
        "pairs": [
            {
                "first": a,
                "second": b,
                "q": yules_q(right[a], right[b]),
                "double_fault": share(~right[a] & ~right[b], groups),
            }
            for a, b in combinations(right, 2)
        ],
    }


def yules_q(first: np.ndarray, second: np.ndarray) -> float | None:
    """Q of two bool (V,): (both·neither - a·b) / (both·neither + a·b), a and b: only one right."""
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    same, unlike = both * neither, only_first * only_second
    return (same - unlike) / (same + unlike) if same + unlike else None


def segment_accuracy(table: ScoreTable, *, segments: Step = MEAN) -> list[dict[str, Any]]:
    """Top-1 of each segment `alone`, and of all the others fused `without` it, as JSON values.

    Crops are averaged. `without` is None where there is one segment only, and where the strategy
    is one of as many weights as segments.
    """
    score_type = "probs" if table.score_type == "probs" else "logits"
    count, known = table.scores.shape[1], table.labels >= 0
    has_rest = count > 1 and "weights" not in segments.options
    alone, without = np.zeros((2, count, len(known)), dtype=bool)
    for part in slices(table.scores):
        some, labels = replace(table, scores=table.scores[part]), table.labels[part]
        scores = view_scores(some, score_type).mean(axis=2)
        alone[:, part] = (scores.argmax(axis=2) == labels[:, None]).T
        for number in range(count if has_rest else 0):
            rest = np.delete(scores, number, axis=1)
            fused = apply_step(rest, segments, score_type=score_type).scores
            without[number, part] = fused.argmax(axis=1) == labels
    groups = known_groups(table.groups, known)
    return [
        {
            "segment": number + 1,
            "alone": share(alone[number, known], groups),
            "without": share(without[number, known], groups) if has_rest else None,
        }
        for number in range(count)
    ]


def segments_accuracy(joined: JoinedTables, segments: Step) -> dict[str, list[dict[str, Any]]]:
    """`segment_accuracy` of each table that has several segments."""
    return {
        key: segment_accuracy(table, segments=segments)
        for key, table in joined.tables.items()
        if table.scores.shape[1] > 1
    }


def class_accuracy(
    results: Mapping[str, np.ndarray], labels: np.ndarray, class_names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Videos of each class, and how many of them each result gets right, as JSON values.

    `results` are the classes (V,) that each predicts. Classes without videos are left out.
    """
    known, classes = labels >= 0, len(class_names)
    videos = np.bincount(labels[known], minlength=classes)
    right = {
        name: np.bincount(labels[known & (predicted == labels)], minlength=classes)
        for name, predicted in results.items()
    }
    return [
        {
            "class": class_names[index],
            "videos": int(videos[index]),
            "correct": {name: int(hits[index]) for name, hits in right.items()},
        }
        for index in np.flatnonzero(videos)
    ]


class Answers(NamedTuple):
    """What a result says of each video; its scores would be too many to keep.

    Attributes:
        first: the class with the highest score, int64 (V,).
        rank: how many classes rank before the true one, int64 (V,); see `true_ranks`.
    """

    first: np.ndarray
    rank: np.ndarray


def stream_answers(scores: np.ndarray, labels: np.ndarray) -> Answers:
    """The answers of (V, C) scores."""
    return Answers(scores.argmax(axis=1), true_ranks(scores, labels))


def fused_answers(streams: VideoScores, step: Step) -> Answers:
    """The answers of the streams fused, a few videos at a time."""
    parts = [
        stream_answers(of_part.scores, streams.labels[part])
        for part, of_part in fused_slices(streams, step)
    ]
    first, rank = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Answers(first, rank)


def mean_class_interval(
    right: np.ndarray, labels: np.ndarray, groups: np.ndarray | None
) -> tuple[float, float]:
    """95 % interval in 0..100 of the mean class accuracy, by the jackknife of whole groups.

    Args:
        right: of the labelled videos, bool (V,). labels: their classes.
        groups: of each video, or None where each is one of its own.
    """
    number = np.arange(len(labels))
    if groups is not None:
        number = np.unique(groups, return_inverse=True)[1].ravel()
    sizes, classes = np.bincount(number), int(labels.max()) + 1
    if len(sizes) == 1:
        return 0.0, 100.0
    # Without a group only the classes of its videos change, and those that are its own go.
    cells, where = np.unique(number * classes + labels, return_inverse=True)
    group, of_class = np.divmod(cells, classes)
    videos, hits = np.bincount(labels)[of_class], np.bincount(labels, weights=right)[of_class]
    left = videos - np.bincount(where.ravel())
    hits_left = hits - np.bincount(where.ravel(), weights=right)
    changed = np.where(left, hits_left / np.maximum(left, 1), 0) - hits / videos
    present = len(np.unique(labels)) - np.bincount(group, weights=left == 0)
    shares = np.bincount(labels, weights=right) / np.maximum(np.bincount(labels), 1)
    without = (shares.sum() + np.bincount(group, weights=changed)) / np.maximum(present, 1)
    mean = float(shares.sum()) / len(np.unique(labels))
    error = jackknife_error(without)
    low, high = grouped_interval(mean, error, videos=len(labels), sizes=sizes)
    return 100 * low, 100 * high
