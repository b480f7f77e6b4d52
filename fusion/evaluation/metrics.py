"""Accuracy as counts k of N, with 95 % intervals: of independent videos, or by whole groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from twostream_base.errors import InputError

Z_95 = 1.959964
MEASURES = {"top1": "top-1", "top5": "top-5", "mean_class": "mean class"}


def top_k_correct(scores: np.ndarray, labels: np.ndarray, k: int) -> int:
    """Count the videos whose true class is among the k highest scores.

    `scores` is (V, C), `labels` (V,) from 0. Of equal scores the lower class index ranks first, so
    that top-1 is argmax.
    """
    return int((true_ranks(scores, labels) < k).sum())


def true_ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes rank before the true one, int64 (V,); see `top_k_correct`.

    Of a label -1 the rank says nothing.
    """
    true = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return ((scores > true) | ((scores == true) & earlier)).sum(axis=1)


def mean_class_accuracy(scores: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """Average, over the classes that have videos, of their top-1 accuracy; and how many they are.

    `scores` is (V, C), `labels` (V,) from 0, with at least one video. The accuracy is in 0..1.
    """
    return _class_average(scores.argmax(axis=1) == labels, labels)


def wilson_interval(k: float, n: float) -> tuple[float, float]:
    """95 % interval, in 0..1, of a proportion of which k of n > 0 were seen (Wilson, 1927)."""
    share, z2 = k / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def group_interval(right: np.ndarray, groups: Sequence[str] | np.ndarray) -> tuple[float, float]:
    """95 % interval, in 0..1, of the share of videos that are right, by whole `groups` (V,)."""
    number = np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
    sizes, hits = np.bincount(number), np.bincount(number, weights=right)
    return share_interval(hits[:, None], sizes[:, None], 1, videos=len(right))


def share_interval(
    right: np.ndarray, sizes: np.ndarray, scale: int, *, videos: int
) -> tuple[float, float]:
    """95 % interval, in 0..1, of the mean over the splits of the shares right / scale / sizes.

    Its standard error is by the jackknife: each group is left out in turn, in all splits at once.
    It counts right where groups are few, of unequal size, or in several splits (for clustered data:
    Bell and McCaffrey, Survey Methodology 28, 2002). Where a split has one group alone, 0..1.

    Args:
        right: of each group in each split, (G, S); `scale` is one video.
        sizes: videos of each group in each split, int64 (G, S). videos: different ones.
    """
    totals = sizes.sum(axis=0)
    shares = right.sum(axis=0) / scale / totals
    mean = float(shares.mean())
    # Independent videos of one split; the mean over several counts their videos unlike.
    if sizes.shape[1] == 1 and totals[0] == len(sizes) == videos:
        return wilson_interval(mean * videos, videos)
    if (sizes == totals).any():
        return 0.0, 1.0
    error = jackknife_error(((right / scale - shares * sizes) / (totals - sizes)).mean(axis=1))
    # The mean counts a video of a short split more, and one in several splits once.
    alike = min(videos, len(totals) ** 2 / float((1 / totals).sum()))
    return grouped_interval(mean, error, videos=alike, sizes=(sizes / totals).mean(axis=1))


def jackknife_error(changes: np.ndarray) -> float:
    """The standard error of an estimate, from its `changes` (G,) as each group is left out."""
    count = len(changes)
    return math.sqrt((count - 1) / count * float(((changes - changes.mean()) ** 2).sum()))


def grouped_interval(
    share: float, error: float, *, videos: float, sizes: np.ndarray
) -> tuple[float, float]:
    """95 % interval, in 0..1, of a share of `videos` that are of groups of these `sizes` (G,).

    Of a mean over splits `videos` are as many as would say as much in one, and the `sizes` are the
    weights of the groups.

    Videos of a scene tend to be right or wrong together, and then say less than as many independent
    ones. Wilson's interval is taken of the effective number of videos: `videos` over the design
    effect, the squared standard `error` relative to that of independent videos, at least 1 (Rao and
    Scott, Biometrics 48, 1992), and less by the squared ratio of the quantiles of the normal and of
    the t distribution (Korn and Graubard, Survey Methodology 24, 1998). Its degrees of freedom are
    one less than the effective number of groups, which is lower where sizes differ (Kish, 1965).
    Few groups may be alike by chance: so two more are counted whose videos say no more than one
    video does. Where all videos are right, or none, this holds for all groups.
    """
    groups = float(sizes.sum()) ** 2 / float((sizes.astype(np.float64) ** 2).sum())
    most = videos / groups
    effect = max(1.0, videos * error**2 / (share * (1 - share))) if 0 < share < 1 else most
    if effect < most:
        effect = ((groups - 1) * effect + 2 * most) / (groups + 1)
    t = t_975(max(1, int(groups + 1e-9) - 1))
    effective = videos / effect * (Z_95 / t) ** 2
    return wilson_interval(share * effective, effective)


def t_975(freedom: int) -> float:
    """The 97.5 % quantile of Student's t: exact for 1 and 2, else to 0.004 (Cornish and Fisher)."""
    if freedom == 1:
        return 1 / math.tan(0.025 * math.pi)
    if freedom == 2:
        return 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))
    z = Z_95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


def evaluate(
    scores: ArrayLike, labels: ArrayLike, groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """Top-1, top-5 and mean class accuracy, as JSON values.

        evaluate(fused.scores, fused.labels, fused.groups)["top1"]
        # {'correct': 3332, 'of': 3783, 'percent': 88.0782, 'interval': [85.9966, 89.8868]}

    Args:
        scores: (V, C), (V, S, C) or (V, S, R, C); the mean over segments and crops counts.
        labels: (V,) from 0; videos with -1 are left out and counted under `unlabelled`.
        groups: the scene, film or source of each video (V,), where it is known.

    Returns:
        `top1` and `top5`: `correct` of `of` videos, `percent`, and its 95 % `interval` in 0..100:
        Wilson's, as if the videos were independent, or by whole groups (`group_interval`);
        `mean_class`: `percent`, and of how many `classes`; `unlabelled`; and how many `groups` the
        labelled videos are of, None where that is not known. Percent and interval are None where no
        video has a label.

    Raises:
        InputError: other shapes, or labels beyond the classes.
    """
    values, truth = np.asarray(scores), np.asarray(labels)
    if not 2 <= values.ndim <= 4 or truth.shape != values.shape[:1] or truth.dtype.kind not in "iu":
        raise InputError(
            f"scores {values.shape} and labels {truth.dtype} {truth.shape}; expected (videos, "
            "[segments, [crops,]] classes) and whole numbers (videos,)"
        )
    if len(truth) and not -1 <= truth.min() <= truth.max() < values.shape[-1]:
        raise InputError(
            f"labels {truth.min()}..{truth.max()}; allowed: -1..{values.shape[-1] - 1}"
        )
    views = math.prod(values.shape[1:-1])
    means = values.reshape(len(values), views, values.shape[-1]).mean(axis=1, dtype=np.float64)
    if groups is not None and len(groups) != len(truth):
        raise InputError(f"{len(groups)} groups for {len(truth)} videos; give one for each")
    return accuracy_summary(means, truth.astype(np.int64), groups)


def accuracy_summary(
    scores: np.ndarray, labels: np.ndarray, groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """What `evaluate` gives, of (V, C) scores."""
    return accuracy_of_ranks(true_ranks(scores, labels), labels, groups)


def accuracy_of_ranks(
    ranks: np.ndarray, labels: np.ndarray, groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """What `evaluate` gives, of the `true_ranks` (V,)."""
    known = labels >= 0
    ranks, labels, groups = ranks[known], labels[known], known_groups(groups, known)
    average, classes = _class_average(ranks == 0, labels) if len(labels) else (None, 0)
    return {
        "top1": share(ranks < 1, groups),
        "top5": share(ranks < 5, groups),
        "mean_class": {
            "percent": None if average is None else percent(average),
            "classes": classes,
        },
        "unlabelled": int((~known).sum()),
        "groups": count_groups(groups),
    }


def shown_measures(classes: int) -> list[str]:
    """The MEASURES that texts show: among five classes or fewer, top-5 is always right."""
    return [measure for measure in MEASURES if measure != "top5" or classes > 5]


def known_groups(groups: Sequence[str] | None, known: np.ndarray) -> list[str] | None:
    """The groups of the videos with a label, bool (V,); None where groups are not known."""
    return None if groups is None else [groups[row] for row in np.flatnonzero(known).tolist()]


def count_groups(groups: Sequence[str] | None) -> int | None:
    """How many groups there are; None where they are not known."""
    return None if groups is None else len(set(groups))


def share(right: np.ndarray, groups: Sequence[str] | None = None) -> dict[str, Any]:
    """`proportion` of the videos that are right, bool (V,), with an interval by `groups`."""
    result = proportion(int(right.sum()), len(right))
    if groups is not None and len(right):
        result["interval"] = [percent(end) for end in group_interval(right, groups)]
    return result


def _class_average(correct: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    videos, hits = np.bincount(labels), np.bincount(labels, weights=correct)
    present = videos > 0
    return float((hits[present] / videos[present]).mean()), int(present.sum())


def proportion(k: int, n: int) -> dict[str, Any]:
    """k of n as JSON values: `correct`, `of`, `percent` and its Wilson `interval` in 0..100."""
    if n == 0:
        return {"correct": 0, "of": 0, "percent": None, "interval": None}
    interval = [percent(end) for end in wilson_interval(k, n)]
    return {"correct": k, "of": n, "percent": percent(k / n), "interval": interval}


def percent(share: float | np.floating[Any]) -> float:
    """A share in 0..1, or a difference of shares, in percent as results have it."""
    return round(100 * float(share), 4)
