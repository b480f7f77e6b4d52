"""One score for each video, stream and class, after crops and segments have been fused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion.combining.probabilities import as_log_probs, softmax
from fusion.combining.step import MEAN, Step, StepResult, apply_step, fallback_warnings
from fusion.tables.join import JoinedTables
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError
from twostream_base.files import sha256_bytes

_PASSED_ON = ("dataset", "split", "subset", "protocol", "selected_on", "listed", "missing")


@dataclass(frozen=True, eq=False)
class VideoScores:
    """The scores of each stream for each video; whatever compares streams starts here.

    Attributes:
        names: V video names, the same for all streams.
        class_names: C class names.
        labels: int64 (V,), -1 where not known.
        scores: for each stream float64 (V, C).
        score_type: `logits` or `probs`: what the scores are now.
        combine: the same before any strategy was applied.
        metadata: for each stream that of its file, its score type, and the sha256 of its scores.
        warnings: what the reader of a result should know, a line each.
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: np.ndarray
    scores: dict[str, np.ndarray]
    score_type: str
    combine: str
    metadata: dict[str, dict[str, Any]]
    warnings: list[str]


def score_videos(
    joined: JoinedTables,
    *,
    crops: Step = MEAN,
    segments: Step = MEAN,
    combine: str | None = None,
) -> VideoScores:
    """Fuse the crops, then the segments of each stream.

    A sum of logits is divided by its count first. With `combine="probs"` every view then goes
    through the softmax; by default what the tables hold is combined.

    Raises:
        InputError: the tables hold different types of scores, or a strategy breaks its contract.
    """
    combined = _common_type(joined.tables, combine)
    results = {}
    for key, table in joined.tables.items():
        if crops == MEAN:
            # Crop by crop, so that not all views are in memory as float64 at once.
            count = table.scores.shape[2]
            mean = sum(view_scores(table, combined, crop=crop) for crop in range(count)) / count
            of_segments = StepResult(np.asarray(mean), combined, 0)
        else:
            of_segments = apply_step(view_scores(table, combined), crops, score_type=combined)
        fused = apply_step(of_segments.scores, segments, score_type=of_segments.score_type)
        results[key] = fused._replace(fallbacks=fused.fallbacks + of_segments.fallbacks)
    return VideoScores(
        names=joined.first.names,
        class_names=joined.first.class_names,
        labels=joined.first.labels,
        scores={key: result.scores for key, result in results.items()},
        score_type=next(iter(results.values())).score_type,
        combine=combined,
        metadata={
            key: {
                "kind": table.score_type,
                "scores_sha256": sha256_bytes(np.ascontiguousarray(table.scores).data),
                **table.metadata,
            }
            for key, table in joined.tables.items()
        },
        warnings=joined.warnings + fallback_warnings(results),
    )


def view_scores(
    table: ScoreTable, score_type: str, *, crop: int | slice = slice(None)
) -> np.ndarray:
    """Scores of every view as `score_type`, float64 (V, S, R, C); (V, S, C) of one `crop`.

    A sum of logits becomes their mean.
    """
    scores = table.scores[:, :, crop].astype(np.float64)
    if table.score_type == "logit_sum":
        scores /= table.metadata["summed_over"]
    return softmax(scores) if score_type == "probs" and table.score_type != "probs" else scores


def view_logits(table: ScoreTable) -> np.ndarray:
    """Logits of every view, float64 (V, S, R, C); of probabilities their logarithms."""
    if table.score_type == "probs":
        return as_log_probs(view_scores(table, "probs"), "probs")
    return view_scores(table, "logits")


def mean_logits(table: ScoreTable) -> np.ndarray:
    """Logits of each video, float64 (V, C): the mean of its views."""
    return view_logits(table).mean(axis=(1, 2))


def shared_metadata(streams: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The metadata that all streams have alike: data set, split, subset, protocol, ..."""
    facts: dict[str, Any] = {}
    for fact in _PASSED_ON:
        values = [metadata[fact] for metadata in streams.values() if fact in metadata]
        if len(values) == len(streams) and all(value == values[0] for value in values):
            facts[fact] = values[0]
    # One stream that has seen the test list is enough to make the fused result optimistic.
    if "test" in [metadata.get("selected_on") for metadata in streams.values()]:
        facts["selected_on"] = "test"
    return facts


def _common_type(tables: Mapping[str, ScoreTable], combine: str | None) -> str:
    types = {
        key: "probs" if table.score_type == "probs" else "logits" for key, table in tables.items()
    }
    listed = ", ".join(f"{key} {score_type}" for key, score_type in types.items())
    if combine == "logits" and "probs" in types.values():
        raise InputError(f"probabilities cannot become logits ({listed}); use --combine probs")
    if combine is None and len(set(types.values())) > 1:
        raise InputError(f"the inputs hold different scores ({listed}); use --combine probs")
    return combine or next(iter(types.values()))
