"""Is one result better than another on the same videos? Tests and intervals for paired answers.

`first` and `second` say for each video whether a result is right: bool (V,).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fusion.evaluation.metrics import Z_95, proportion
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
