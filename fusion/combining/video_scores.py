"""Votes: one score a video, stream and class, after crops and segments were fused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion.combining.probabilities import softmax
from fusion.combining.step import MEAN, Reduced, Step, fallback_warnings, reduced
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError
from twostream_base.files import sha256_bytes

COMBINE = ("logits", "probs")
_PASSED_ON = ("dataset", "split", "subset", "protocol", "selected_on", "listed", "missing")


@dataclass(frozen=True, eq=False)
class Votes:
    """What each stream says of each video; everything that compares streams starts here.

    Attributes:
        names: V video names, the same for all streams.
        class_names: C class names.
        labels: int64 (V,), -1 where not known.
        scores: for each stream float64 (V, C).
        kind: `logits` or `probs`: what the scores are now.
        combine: the same before any strategy was applied.
        about: for each stream what its file says of it, its kind, and the sha256 of its scores.
        warnings: what the reader of a result should know, a line each.
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: np.ndarray
    scores: dict[str, np.ndarray]
    kind: str
    combine: str
    about: dict[str, dict[str, Any]]
    warnings: list[str]


def shared_facts(streams: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What all streams say of themselves alike: data set, split, subset, protocol, ..."""
    facts: dict[str, Any] = {}
    for fact in _PASSED_ON:
        values = [about[fact] for about in streams.values() if fact in about]
        if len(values) == len(streams) and all(value == values[0] for value in values):
            facts[fact] = values[0]
    # One stream that has seen the test list is enough to make the fused result optimistic.
    if "test" in [about.get("selected_on") for about in streams.values()]:
        facts["selected_on"] = "test"
    return facts


def cast_votes(
    tables: Mapping[str, ScoreTable],
    *,
    crops: Step = MEAN,
    segments: Step = MEAN,
    combine: str | None = None,
) -> Votes:
    """Join tables by video name and fuse the crops, then the segments of each one.

    A sum of logits is divided by its count first. With `combine="probs"` every view then goes
    through the softmax; by default what the tables hold is combined.

    Raises:
        InputError: the tables do not join, hold unlike kinds, or a strategy fails its contract.
    """
    joined, warnings = join(tables)
    combined = _common_kind(joined, combine)
    votes = {
        key: _voted(table, combined, crops=crops, segments=segments)
        for key, table in joined.items()
    }
    first = next(iter(joined.values()))
    return Votes(
        names=first.names,
        class_names=first.class_names,
        labels=first.labels,
        scores={key: vote.scores for key, vote in votes.items()},
        kind=next(iter(votes.values())).kind,
        combine=combined,
        about={key: _about(table) for key, table in joined.items()},
        warnings=warnings + fallback_warnings(votes),
    )


def _common_kind(tables: Mapping[str, ScoreTable], combine: str | None) -> str:
    held = {key: "probs" if table.kind == "probs" else "logits" for key, table in tables.items()}
    listed = ", ".join(f"{key} {kind}" for key, kind in held.items())
    if combine == "logits" and "probs" in held.values():
        raise InputError(f"probabilities cannot become logits ({listed}); use --combine probs")
    if combine is None and len(set(held.values())) > 1:
        raise InputError(f"the inputs hold unlike scores ({listed}); use --combine probs")
    return combine or next(iter(held.values()))


def _voted(table: ScoreTable, combined: str, *, crops: Step, segments: Step) -> Reduced:
    """Scores of each video, (V, C): its crops are fused, then its segments."""
    if crops == MEAN:
        of_segments = Reduced(_mean_of_crops(table, combined), combined, 0)
    else:
        of_segments = reduced(view_scores(table, combined), crops, kind=combined)
    votes = reduced(of_segments.scores, segments, kind=of_segments.kind)
    return votes._replace(fallbacks=votes.fallbacks + of_segments.fallbacks)


def _mean_of_crops(table: ScoreTable, kind: str) -> np.ndarray:
    """Float64 (V, S, C), without all views in float64 at one time."""
    crops = table.scores.shape[2]
    return sum(view_scores(table, kind, crop=crop) for crop in range(crops)) / crops


def view_scores(table: ScoreTable, kind: str, *, crop: int | slice = slice(None)) -> np.ndarray:
    """Scores of every view as `kind`, float64 (V, S, R, C); (V, S, C) of one `crop`.

    A sum of logits becomes their mean.
    """
    scores = table.scores[:, :, crop].astype(np.float64)
    if table.kind == "logit_sum":
        scores /= table.about["summed_over"]
    return softmax(scores) if kind == "probs" and table.kind != "probs" else scores


def _about(table: ScoreTable) -> dict[str, Any]:
    sha256 = sha256_bytes(np.ascontiguousarray(table.scores).data)
    return {"kind": table.kind, "scores_sha256": sha256, **table.about}
