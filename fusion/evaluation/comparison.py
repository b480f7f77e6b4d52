"""Is one result better than another on the same videos, and how do their mistakes go together?

Tests and intervals for paired answers; `first` and `second` say for each video whether a result is
right: bool (V,). The measures of pairs are those of Kuncheva and Whitaker (Machine Learning 51,
2003, section 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fusion.combining.fuse import VideoScores, view_scores
from fusion.combining.step import MEAN, Step, apply_step
from fusion.evaluation.metrics import Z_95, proportion
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

_POWER_80 = 0.841621
_BLOCK = 1000


class McNemar(NamedTuple):
    """Videos that only the first, and that only the second got right, and the exact p-value."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Exact two-sided test that both are right equally often (McNemar, 1947; binomial form)."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return McNemar(only_first, only_second, sign_test(only_first, only_second))


def sign_test(heads: int, tails: int) -> float:
    """Probability that a fair coin, tossed `heads + tails` times, is at least as unbalanced."""
    n, fewer = heads + tails, min(heads, tails)
    if heads == tails:
        return 1.0
    log_all = math.lgamma(n + 1) - n * math.log(2)
    tail = math.fsum(
        math.exp(log_all - math.lgamma(k + 1) - math.lgamma(n - k + 1)) for k in range(fewer + 1)
    )
    return min(1.0, 2 * tail)


def bootstrap_interval(
    first: np.ndarray,
    second: np.ndarray,
    *,
    rng: np.random.Generator,
    groups: Sequence[str] | None = None,
    resamples: int = 10_000,
) -> tuple[float, float]:
    """95 % percentile interval of accuracy(first) - accuracy(second), in -1..1.

    Paired bootstrap: videos are drawn with replacement, the same for both; with `groups` whole
    groups are drawn, as videos of one scene tend to be right or wrong together (Efron and
    Tibshirani, 1993, chapters 8, 13).
    """
    gain = first.astype(np.int64) - second.astype(np.int64)
    if groups is None:
        counts = np.array([(gain == value).sum() for value in (-1, 0, 1)])
        drawn = rng.multinomial(len(gain), counts / len(gain), size=resamples)
        differences = (drawn[:, 2] - drawn[:, 0]) / len(gain)
    else:
        number = np.unique(np.asarray(groups), return_inverse=True)[1]
        gains, sizes = np.bincount(number, weights=gain), np.bincount(number)
        blocks = []
        for start in range(0, resamples, _BLOCK):  # bounded memory
            rows = min(_BLOCK, resamples - start)
            picks = rng.integers(len(sizes), size=(rows, len(sizes)))
            blocks.append(gains[picks].sum(axis=1) / sizes[picks].sum(axis=1))
        differences = np.concatenate(blocks)
    low, high = np.quantile(differences, [0.025, 0.975])
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


def smallest_difference(videos: int, discordant: int) -> float | None:
    """The smallest true difference of accuracies, in 0..1, that a test of `videos` would find.

    Found with probability 0.8 at a level of 5 %, where the two disagree on `discordant` of the
    videos (Connor, Biometrics 1987, with that share held fixed). None where they never disagree.
    """
    share = discordant / videos
    if not share:
        return None
    low, high = 0.0, share
    for _ in range(60):
        middle = (low + high) / 2
        spread = Z_95 * math.sqrt(share) + _POWER_80 * math.sqrt(share - middle**2)
        low, high = (low, middle) if middle * math.sqrt(videos) >= spread else (middle, high)
    return high


def compare(
    results: Mapping[str, ArrayLike],
    labels: ArrayLike,
    *,
    rng: np.random.Generator | int = 0,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compare the top-1 answers of several results, scores (V, C) each, as JSON values.

    Each pair has the videos that only one result got right, the exact McNemar p-value, also after
    Holm's correction for all pairs (`p_holm`), the difference in percent points with its 95 %
    bootstrap interval (of whole `groups` where given), and the `smallest` difference that so many
    videos can show. Videos without a label (-1) are left out.

    Raises:
        InputError: fewer than two results, other shapes, or no labels.
    """
    rng, truth = np.random.default_rng(rng), np.asarray(labels)
    arrays = {name: np.asarray(scores) for name, scores in results.items()}
    known = truth >= 0
    if len(arrays) < 2 or not known.any():
        raise InputError("a comparison needs two results, and videos with a label")
    if misshapen := [name for name, a in arrays.items() if a.ndim != 2 or len(a) != len(truth)]:
        raise InputError(
            f"scores must be ({len(truth)} videos, classes); not so: {', '.join(misshapen)}"
        )
    right = {name: a[known].argmax(axis=1) == truth[known] for name, a in arrays.items()}
    if groups is not None:
        groups = [group for group, has_label in zip(groups, known, strict=True) if has_label]
    pairs: list[dict[str, Any]] = []
    for a, b in combinations(right, 2):
        first, second = right[a], right[b]
        test = mcnemar(first, second)
        low, high = bootstrap_interval(first, second, rng=rng, groups=groups)
        smallest = smallest_difference(len(first), test.only_first + test.only_second)
        pairs.append(
            {
                "first": a,
                "second": b,
                "only_first": test.only_first,
                "only_second": test.only_second,
                "p": test.p,
                "difference": _points((test.only_first - test.only_second) / len(first)),
                "interval": [_points(low), _points(high)],
                "smallest": None if smallest is None else _points(smallest),
            }
        )
    for pair, adjusted in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = adjusted
    systems = [
        {"name": name, **proportion(int(hits.sum()), len(hits))} for name, hits in right.items()
    ]
    drawn = "videos" if groups is None else "groups"
    return {"videos": int(known.sum()), "systems": systems, "pairs": pairs, "bootstrap": drawn}


def _points(share: float) -> float:
    return round(100 * share, 4)


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
    videos = int(known.sum())
    any_right = np.any(list(right.values()), axis=0)
    return {
        "oracle": proportion(int(any_right.sum()), videos),
        "pairs": [
            {
                "first": a,
                "second": b,
                "q": yules_q(right[a], right[b]),
                "double_fault": proportion(int((~right[a] & ~right[b]).sum()), videos),
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
    known = table.labels >= 0
    scores, labels = view_scores(table, score_type).mean(axis=2)[known], table.labels[known]

    def top1(fused: np.ndarray) -> dict[str, Any]:
        return proportion(int((fused.argmax(axis=1) == labels).sum()), len(labels))

    count = scores.shape[1]
    has_rest = count > 1 and "weights" not in segments.options
    rows = []
    for number in range(count):
        rest = np.delete(scores, number, axis=1)
        without = (
            top1(apply_step(rest, segments, score_type=score_type).scores) if has_rest else None
        )
        rows.append({"segment": number + 1, "alone": top1(scores[:, number]), "without": without})
    return rows


def class_accuracy(
    results: Mapping[str, np.ndarray], labels: np.ndarray, class_names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Videos of each class, and how many of them each result (V, C) gets right, as JSON values.

    Classes without videos are left out.
    """
    known, classes = labels >= 0, len(class_names)
    videos = np.bincount(labels[known], minlength=classes)
    right = {
        name: np.bincount(labels[known & (scores.argmax(axis=1) == labels)], minlength=classes)
        for name, scores in results.items()
    }
    return [
        {
            "class": class_names[index],
            "videos": int(videos[index]),
            "correct": {name: int(hits[index]) for name, hits in right.items()},
        }
        for index in np.flatnonzero(videos)
    ]
