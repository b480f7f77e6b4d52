"""Fusion of score tables: crops, then segments, then streams become one score a class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.step import MEAN, Reduced, Step, fallback_warnings, reduced
from fusion.combining.video_scores import Votes, cast_votes, shared_facts, view_scores
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError
from twostream_base.versions import tool_version


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


# Fusion over epochs: the score files that `train --dump-scores` keeps of one run become one.
_DUMP = re.compile(r"epoch-(\d+)(-test)?\.safetensors")


def find_epochs(run_scores: Path, wanted: str, *, subset: str) -> list[Path]:
    """The files of some epochs in a folder, oldest first.

    `epoch-017.safetensors` is of the videos that select the epoch, `epoch-017-test.safetensors` of
    the test videos where these are others.

    Args:
        wanted: `all`, `last:5`, or numbers as `3,5,8`.
        subset: of the videos, `val` or `test`.

    Raises:
        InputError: none are there, or not those that are wanted.
    """
    dumps = [
        (match, path)
        for path in sorted(run_scores.glob("epoch-*"))
        if (match := _DUMP.fullmatch(path.name))
    ]
    apart = subset == "test" and any(match[2] for match, _ in dumps)
    found = {int(match[1]): path for match, path in dumps if bool(match[2]) == apart}
    epochs = sorted(found)
    if wanted != "all" and (last := re.fullmatch(r"last:([1-9]\d*)", wanted)):
        chosen = epochs[-int(last[1]) :]
        lacking = int(last[1]) - len(chosen)
    elif wanted == "all" or re.fullmatch(r"\d+(,\d+)*", wanted):
        chosen = epochs if wanted == "all" else sorted({int(text) for text in wanted.split(",")})
        lacking = len(set(chosen) - set(epochs)) + (not chosen)
    else:
        raise InputError(f"--epochs {wanted!r}: expected all, last:N, or numbers as 3,5,8")
    if lacking:
        there = ", ".join(map(str, epochs)) or "none"
        raise InputError(
            f"--epochs {wanted}: {run_scores} holds the scores of epochs {there}; "
            "`twostream train --dump-scores last:N` keeps them"
        )
    return [found[epoch] for epoch in chosen]


def fuse_epochs(tables: Mapping[str, ScoreTable], step: Step) -> ScoreTable:
    """One table of the same stream at several epochs (oldest first), view by view.

    One epoch alone stays as it is.

    Raises:
        InputError: the tables do not join, differ in their views, or the strategy fails.
    """
    joined, _ = join(tables)
    shapes = {key: f"{table.kind} {table.scores.shape[1:3]}" for key, table in joined.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{key}: {shape}" for key, shape in shapes.items())
        raise InputError(f"the epochs differ in their kind or views (segments, crops): {listed}")
    last = list(joined.values())[-1]
    if len(joined) == 1:
        return last
    kind = "probs" if last.kind == "probs" else "logits"
    stacked = np.stack([view_scores(table, kind) for table in joined.values()], axis=-2)
    fused = reduced(stacked, step, kind=kind)
    epochs = [table.about.get("epoch", key) for key, table in joined.items()]
    about = last.about | {"epoch": epochs, "epochs": {"strategy": step.name, **step.options}}
    return replace(last, scores=fused.scores.astype(np.float32), kind=fused.kind, about=about)
