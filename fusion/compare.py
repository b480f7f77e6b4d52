"""Every pair of results on the same videos: which is better, by how much, and is it luck?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from fusion.metrics import proportion
from fusion.significance import bootstrap_interval, holm, mcnemar, smallest_difference
from twostream.errors import InputError


def compare(
    results: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    rng: np.random.Generator,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compare the top-1 answers of several results, scores (V, C) each, as JSON values.

    Each pair has the videos that only one got right, the exact McNemar p-value, also after Holm's
    correction for all pairs (`p_holm`), the difference in percent points with its 95 % bootstrap
    interval (of whole `groups` where given), and the `smallest` difference that so many videos can
    show. Videos without a label (-1) are left out.

    Raises:
        InputError: fewer than two results, or no labels.
    """
    known = labels >= 0
    if len(results) < 2 or not known.any():
        raise InputError("comparing needs two results, and videos with a label")
    right = {
        name: scores[known].argmax(axis=1) == labels[known] for name, scores in results.items()
    }
    if groups is not None:
        groups = [group for group, has_label in zip(groups, known, strict=True) if has_label]
    pairs = [
        {"first": a, "second": b, **_pair(right[a], right[b], rng, groups)}
        for a, b in combinations(right, 2)
    ]
    for pair, adjusted in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = adjusted
    systems = [
        {"name": name, **proportion(int(hits.sum()), len(hits))} for name, hits in right.items()
    ]
    drawn = "videos" if groups is None else "groups"
    return {"videos": int(known.sum()), "systems": systems, "pairs": pairs, "bootstrap": drawn}


def _pair(
    first: np.ndarray,
    second: np.ndarray,
    rng: np.random.Generator,
    groups: Sequence[str] | None,
) -> dict[str, Any]:
    test = mcnemar(first, second)
    low, high = bootstrap_interval(first, second, rng=rng, groups=groups)
    smallest = smallest_difference(len(first), test.only_first + test.only_second)
    return {
        "only_first": test.only_first,
        "only_second": test.only_second,
        "p": test.p,
        "difference": _points((test.only_first - test.only_second) / len(first)),
        "interval": [_points(low), _points(high)],
        "smallest": None if smallest is None else _points(smallest),
    }


def _points(share: float) -> float:
    return round(100 * share, 4)
