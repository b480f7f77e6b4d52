"""Fusion of score tables: crops, then segments, then streams become one score a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fusion.join import join
from fusion.probabilities import count_fallbacks, softmax
from fusion.score_file import ScoreTable
from fusion.strategies import Strategy, mean, variance
from twostream.errors import InputError
from twostream.files import sha256_bytes
from twostream.versions import tool_version

COMBINE = ("logits", "probs")
_PASSED_ON = ("dataset", "split", "subset", "protocol", "selected_on", "listed", "missing")


@dataclass(frozen=True)
class Step:
    """How voters become one: a strategy, the name it has in headers, and its options."""

    name: str
    strategy: Strategy
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Fusion:
    """A fused result and how it came about.

    Attributes:
        table: the fused scores, (V, 1, 1, C).
        inputs: the scores of each input after its own segments were fused, float64 (V, C).
        warnings: what the reader of the result should know, a line each.
    """

    table: ScoreTable
    inputs: dict[str, np.ndarray]
    warnings: list[str]


class _Reduced(NamedTuple):
    scores: np.ndarray
    kind: str
    fallbacks: int


MEAN = Step("mean", mean)


def fuse(
    tables: Mapping[str, ScoreTable],
    *,
    segments: Step = MEAN,
    streams: Step = MEAN,
    combine: str | None = None,
) -> Fusion:
    """Join tables by video name and fuse each one's segments, then the streams.

    A sum of logits is divided by its count first. With `combine="probs"` every view then goes
    through the softmax; by default what the tables hold is combined. Crops are averaged. One table
    alone has its segments fused only. Probabilities sum to 1 after each step.

    Raises:
        InputError: the tables do not join, hold unlike kinds, or a strategy fails its contract.
    """
    joined, warnings = join(tables)
    combined = _common_kind(joined, combine)
    votes = {
        key: _reduced(_segment_scores(table, combined), segments, kind=combined)
        for key, table in joined.items()
    }
    warnings += _fallbacks(votes)
    fused = next(iter(votes.values()))
    if len(votes) > 1:
        stacked = np.stack([vote.scores for vote in votes.values()], axis=-2)
        fused = _reduced(stacked, streams, kind=fused.kind)
        warnings += _fallbacks({"the streams": fused})
    elif streams != MEAN:
        warnings.append(f"one input alone: {streams.name} had no streams to join")
    first = next(iter(joined.values()))
    about = _about(joined, segments=segments, streams=streams, combined=combined)
    scores = fused.scores[:, None, None, :].astype(np.float32)
    table = ScoreTable(first.names, first.class_names, scores, first.labels, fused.kind, about)
    return Fusion(table, {key: vote.scores for key, vote in votes.items()}, warnings)


def _common_kind(tables: Mapping[str, ScoreTable], combine: str | None) -> str:
    held = {key: "probs" if table.kind == "probs" else "logits" for key, table in tables.items()}
    listed = ", ".join(f"{key} {kind}" for key, kind in held.items())
    if combine == "logits" and "probs" in held.values():
        raise InputError(f"probabilities cannot become logits ({listed}); use --combine probs")
    if combine is None and len(set(held.values())) > 1:
        raise InputError(f"the inputs hold unlike scores ({listed}); use --combine probs")
    return combine or next(iter(held.values()))


def _segment_scores(table: ScoreTable, kind: str) -> np.ndarray:
    """Scores of each segment, float64 (V, S, C): the mean over its crops."""
    crops = table.scores.shape[2]
    return sum(_view_scores(table, crop, kind) for crop in range(crops)) / crops


def _view_scores(table: ScoreTable, crop: int, kind: str) -> np.ndarray:
    scores = table.scores[:, :, crop].astype(np.float64)
    if table.kind == "logit_sum":
        scores /= table.about["summed_over"]
    return softmax(scores) if kind == "probs" and table.kind != "probs" else scores


def _reduced(scores: np.ndarray, step: Step, *, kind: str) -> _Reduced:
    """Apply a step to scores of `kind`, (V, voters, C) -> (V, C)."""
    options = {**step.options, "kind": kind} if step.strategy is variance else step.options
    result = np.asarray(step.strategy(scores, **options), dtype=np.float64)
    expected = scores.shape[:-2] + scores.shape[-1:]
    if result.shape != expected or not np.isfinite(result).all():
        raise InputError(
            f"strategy {step.name} returned {result.shape} scores; it must return "
            f"finite scores of shape {expected} for {scores.shape}"
        )
    if step.strategy is variance and step.options.get("form") != "legacy":
        return _Reduced(result, "probs", count_fallbacks(scores, kind=kind))
    return _Reduced(_summing_to_one(result, step) if kind == "probs" else result, kind, 0)


def _fallbacks(votes: Mapping[str, _Reduced]) -> list[str]:
    return [
        f"{key}: variance weighting met only flat voters for {vote.fallbacks} videos and weighted "
        "them equally"
        for key, vote in votes.items()
        if vote.fallbacks
    ]


def _summing_to_one(scores: np.ndarray, step: Step) -> np.ndarray:
    if (scores < 0).any():
        raise InputError(
            f"strategy {step.name} made negative scores out of probabilities; use --combine logits"
        )
    total = scores.sum(axis=-1, keepdims=True)
    # All 0 says nothing of any class: as the legacy variance of flat voters.
    uniform = np.full_like(scores, 1 / scores.shape[-1])
    return np.divide(scores, total, out=uniform, where=total > 0)


def _about(
    tables: Mapping[str, ScoreTable], *, segments: Step, streams: Step, combined: str
) -> dict[str, Any]:
    about: dict[str, Any] = {}
    for fact in _PASSED_ON:
        values = [table.about[fact] for table in tables.values() if fact in table.about]
        if len(values) == len(tables) and all(value == values[0] for value in values):
            about[fact] = values[0]
    # One stream that has seen the test list is enough to make the fused result optimistic.
    if "test" in [table.about.get("selected_on") for table in tables.values()]:
        about["selected_on"] = "test"
    return about | {
        "stream": "fusion",
        "segments": {"strategy": segments.name, **segments.options},
        "streams": {"strategy": streams.name, **streams.options},
        "combine": combined,
        "inputs": {
            key: {"kind": table.kind, "scores_sha256": _sha256(table), **table.about}
            for key, table in tables.items()
        },
        "versions": {"twostream": tool_version(), "numpy": np.__version__},
    }


def _sha256(table: ScoreTable) -> str:
    return sha256_bytes(np.ascontiguousarray(table.scores).data)
