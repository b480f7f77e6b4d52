"""Score tables whose streams are calibrated, on other videos or in grouped folds of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fusion.combining.probabilities import as_log_probs, softmax
from fusion.combining.video_scores import view_scores
from fusion.fitting.calibration import Scaling, cross_fitted, reliability, temperature
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

Fit = Callable[[np.ndarray, np.ndarray], Scaling]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Joined tables with calibrated logits.

    Attributes:
        tables: as those given, of kind `logits`.
        scalings: for each stream the scaling of each fold; one alone when fitted on other videos.
        before: for each stream the `reliability` of its mean scores as they were,
        after: and of its calibrated ones, which no video's own label has touched.
    """

    tables: dict[str, ScoreTable]
    scalings: dict[str, list[Scaling]]
    before: dict[str, dict[str, Any]]
    after: dict[str, dict[str, Any]]


def calibrate_in_folds(
    tables: Mapping[str, ScoreTable], folds: np.ndarray, *, fit: Fit = temperature
) -> Calibrated:
    """Calibrate each video by what was fitted on the other folds.

    `folds` (V,) goes with the videos of the first table (see `groups.grouped_folds`).
    """
    joined, _ = join(tables)
    means = {key: mean_logits(table) for key, table in joined.items()}
    scalings = {
        key: cross_fitted(means[key], table.labels, folds, fit=fit) for key, table in joined.items()
    }
    return _calibrated(joined, means, scalings, folds)


def calibrate_on(
    tables: Mapping[str, ScoreTable], others: Mapping[str, ScoreTable], *, fit: Fit = temperature
) -> Calibrated:
    """Calibrate all videos by what was fitted on the `others`: validation videos of each stream.

    Raises:
        InputError: another stream is lacking, has other classes, the same videos, or no labels.
    """
    joined, _ = join(tables)
    fitted = {key: fit(*other_logits(key, table, others)) for key, table in joined.items()}
    means = {key: mean_logits(table) for key, table in joined.items()}
    folds = np.zeros(len(next(iter(joined.values())).names), dtype=np.int64)
    return _calibrated(joined, means, {key: [one] for key, one in fitted.items()}, folds)


def mean_logits(table: ScoreTable) -> np.ndarray:
    """Logits of each video, float64 (V, C): the mean of its views (of probs, their logs)."""
    return _view_logits(table).mean(axis=(1, 2))


def _view_logits(table: ScoreTable) -> np.ndarray:
    if table.kind == "probs":
        return as_log_probs(view_scores(table, "probs"), "probs")
    return view_scores(table, "logits")


def other_logits(
    key: str, table: ScoreTable, others: Mapping[str, ScoreTable]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean logits (V, C) and labels of the labelled videos of `others[key]`, classes as in `table`.

    Raises:
        InputError: no such other table, other classes, or videos that are in both.
    """
    if key not in others:
        raise InputError(f"no validation scores of {key} to learn from")
    other = others[key]
    if set(other.names) & set(table.names):
        raise InputError(f"{key}: the videos to learn from are among those that are fused")
    if set(other.class_names) != set(table.class_names):
        raise InputError(f"{key}: the validation scores have other classes")
    column = {name: index for index, name in enumerate(table.class_names)}
    order = np.array([column[name] for name in other.class_names])
    known = other.labels >= 0
    logits = np.empty((int(known.sum()), len(order)))
    logits[:, order] = mean_logits(other)[known]
    return logits, order[other.labels[known]]


def _calibrated(
    joined: Mapping[str, ScoreTable],
    means: Mapping[str, np.ndarray],
    scalings: dict[str, list[Scaling]],
    folds: np.ndarray,
) -> Calibrated:
    before, after, tables = {}, {}, {}
    for key, table in joined.items():
        factor = np.stack([scaling.factor for scaling in scalings[key]])[folds]
        offset = np.stack([scaling.offset for scaling in scalings[key]])[folds]
        before[key] = reliability(softmax(means[key]), table.labels)
        after[key] = reliability(softmax(means[key] * factor + offset), table.labels)
        scores = _view_logits(table) * factor[:, None, None] + offset[:, None, None]
        about = table.about | {"calibration": _facts(scalings[key])}
        tables[key] = replace(table, scores=scores.astype(np.float32), kind="logits", about=about)
    return Calibrated(tables, scalings, before, after)


def _facts(scalings: list[Scaling]) -> dict[str, Any]:
    """What a header says: a temperature a fold; of vector scaling, that of the mean factor."""
    temperatures = [float(f"{1 / scaling.factor.mean():.6g}") for scaling in scalings]
    method = "temperature" if len(scalings[0].factor) == 1 else "vector"
    return {"method": method, "temperatures": temperatures}
