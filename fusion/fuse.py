"""Fusion of score tables: crops, then segments, then streams become one score a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion.score_file import ScoreTable
from fusion.step import MEAN, Reduced, Step, fallback_warnings, reduced
from fusion.votes import Votes, cast_votes, shared_facts
from twostream.versions import tool_version


@dataclass(frozen=True, eq=False)
class Fusion:
    """A fused result and how it came about.

    Attributes:
        table: the fused scores, (V, 1, 1, C).
        votes: the scores of each input after its own crops and segments were fused.
        warnings: what the reader of the result should know, a line each.
    """

    table: ScoreTable
    votes: Votes
    warnings: list[str]


def fuse(
    tables: Mapping[str, ScoreTable],
    *,
    crops: Step = MEAN,
    segments: Step = MEAN,
    streams: Step = MEAN,
    combine: str | None = None,
) -> Fusion:
    """Join tables by video name and fuse the crops and segments of each one, then the streams.

    See `cast_votes` for what is combined. One table alone has its crops and segments fused only.
    Probabilities sum to 1 after each step.

    Raises:
        InputError: the tables do not join, hold unlike kinds, or a strategy fails its contract.
    """
    votes = cast_votes(tables, crops=crops, segments=segments, combine=combine)
    fused, warnings = fuse_streams(votes, streams)
    steps = {"crops": crops, "segments": segments, "streams": streams}
    table = fused_table(votes, fused.scores, fused.kind, steps)
    return Fusion(table, votes, [*votes.warnings, *warnings])


def fuse_streams(votes: Votes, streams: Step) -> tuple[Reduced, list[str]]:
    """Fuse the streams of each video to (V, C) scores; and warnings."""
    scores = list(votes.scores.values())
    if len(scores) > 1:
        fused = reduced(np.stack(scores, axis=-2), streams, kind=votes.kind)
        return fused, fallback_warnings({"the streams": fused})
    alone = f"one input alone: {streams.name} had no streams to join"
    return Reduced(scores[0], votes.kind, 0), [] if streams == MEAN else [alone]


def fused_table(
    votes: Votes, scores: np.ndarray, kind: str, steps: Mapping[str, Step]
) -> ScoreTable:
    """A score table of fused (V, C) scores, whose header tells its inputs and how it was made."""
    about: dict[str, Any] = shared_facts(votes.about) | {
        "stream": "fusion",
        **{axis: {"strategy": step.name, **step.options} for axis, step in steps.items()},
        "combine": votes.combine,
        "inputs": votes.about,
        "versions": {"twostream": tool_version(), "numpy": np.__version__},
    }
    four_axes = scores[:, None, None, :].astype(np.float32)
    return ScoreTable(votes.names, votes.class_names, four_axes, votes.labels, kind, about)
