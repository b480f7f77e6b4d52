"""Fusion of score tables: crops, then segments, then streams become one score for each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusion.combining.step import (
    MEAN,
    Step,
    StepResult,
    Steps,
    apply_step,
    fallback_warnings,
    make_step,
)
from fusion.combining.strategies import Strategy, weighted
from fusion.combining.video_scores import (
    VideoScores,
    score_videos,
    shared_metadata,
    view_scores,
)
from fusion.tables.join import Input, JoinedTables, join
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError
from twostream_base.versions import tool_version


@dataclass(frozen=True, eq=False)
class Fusion:
    """A fused result and what it was made of.

    Attributes:
        table: the fused scores, (V, 1, 1, C), with a header that tells how they were made.
        streams: the scores of each stream after its own crops and segments were fused.
        warnings: what the reader of the result should know, a line each.
    """

    table: ScoreTable
    streams: VideoScores
    warnings: list[str]

    @property
    def scores(self) -> np.ndarray:
        """Fused scores, float32 (V, C)."""
        return self.table.scores[:, 0, 0]

    @property
    def labels(self) -> np.ndarray:
        """The true classes, int64 (V,), -1 where not known."""
        return self.table.labels


def fuse(
    inputs: Mapping[str, Input],
    *,
    strategy: str | Strategy | Step = "mean",
    segments: str | Strategy | Step = "mean",
    crops: str | Strategy | Step = "mean",
    weights: Mapping[str, float] | None = None,
    combine: str | None = None,
    labels: ArrayLike | None = None,
    score_type: str | None = None,
) -> Fusion:
    """Fuse the crops, then the segments of each stream, then the streams.

        fused = fuse({"spatial": "rgb.safetensors", "motion": "flow.safetensors"},
                     strategy="weighted", weights={"spatial": 1, "motion": 2})
        fused.scores    # (videos, classes)

    One stream alone has only its crops and segments fused. Probabilities sum to 1 after each step.

    Args:
        inputs: for each stream a score file, a table, or an array: see `join`.
        strategy, segments, crops: a name of `STRATEGIES`, a function, or a `Step` with options
            (`make_step("topk", k=2)`).
        weights: of the streams, for the strategy `weighted`.
        combine: fuse `logits` or `probs`; by default what the inputs hold.
        labels, score_type: of arrays, see `table_of_array`.

    Raises:
        InputError: the inputs do not join or hold different types of scores, or a strategy is not
            known or breaks its contract.
    """
    joined = join(inputs, labels=labels, score_type=score_type)
    options: dict[str, Any] = {}
    if weights is not None:
        if set(weights) != set(inputs):
            raise InputError(
                f"weights of {', '.join(weights)}; the streams are {', '.join(inputs)}: give each "
                "stream a weight"
            )
        if strategy not in ("weighted", weighted):
            raise InputError("weights are for the strategy `weighted`")
        options["weights"] = [weights[key] for key in inputs]
    steps = Steps(
        crops=make_step(crops), segments=make_step(segments), streams=make_step(strategy, **options)
    )
    return fuse_joined(joined, steps, combine=combine)


def fuse_joined(joined: JoinedTables, steps: Steps, *, combine: str | None = None) -> Fusion:
    """Fuse joined tables; `steps.epochs` has no effect here. See `fuse`."""
    streams = score_videos(joined, crops=steps.crops, segments=steps.segments, combine=combine)
    fused, warnings = fuse_streams(streams, steps.streams)
    axes = {"crops": steps.crops, "segments": steps.segments, "streams": steps.streams}
    table = fused_table(streams, fused.scores, fused.score_type, axes)
    return Fusion(table, streams, [*streams.warnings, *warnings])


def fuse_streams(streams: VideoScores, step: Step) -> tuple[StepResult, list[str]]:
    """Fuse the streams of each video to (V, C) scores; and warnings."""
    scores = list(streams.scores.values())
    if len(scores) > 1:
        fused = apply_step(np.stack(scores, axis=-2), step, score_type=streams.score_type)
        return fused, fallback_warnings({"the streams": fused})
    alone = f"there is only one input: {step.name} had no streams to fuse"
    return StepResult(scores[0], streams.score_type, 0), [] if step == MEAN else [alone]


def fused_table(
    streams: VideoScores, scores: np.ndarray, score_type: str, steps: Mapping[str, Step]
) -> ScoreTable:
    """A score table of fused (V, C) scores, whose header tells its inputs and `steps` by axis."""
    metadata: dict[str, Any] = shared_metadata(streams.metadata) | {
        "stream": "fusion",
        **{axis: {"strategy": step.name, **step.options} for axis, step in steps.items()},
        "combine": streams.combine,
        "inputs": streams.metadata,
        "versions": {"twostream": tool_version(), "numpy": np.__version__},
    }
    four_axes = scores[:, None, None, :].astype(np.float32)
    return ScoreTable(
        streams.names, streams.class_names, four_axes, streams.labels, score_type, metadata
    )


def fuse_epochs(tables: Mapping[str, ScoreTable], step: Step) -> ScoreTable:
    """One table of the same stream at several epochs (oldest first), view by view.

    One epoch alone stays as it is.

    Raises:
        InputError: the tables do not join, differ in their views, or the strategy fails.
    """
    if len(tables) == 1:
        return next(iter(tables.values()))
    joined = join(tables).tables
    shapes = {key: f"{table.score_type} {table.scores.shape[1:3]}" for key, table in joined.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{key}: {shape}" for key, shape in shapes.items())
        raise InputError(f"the epochs differ in score type or views (segments, crops): {listed}")
    last = list(joined.values())[-1]
    score_type = "probs" if last.score_type == "probs" else "logits"
    stacked = np.stack([view_scores(table, score_type) for table in joined.values()], axis=-2)
    fused = apply_step(stacked, step, score_type=score_type)
    epochs = [table.metadata.get("epoch", key) for key, table in joined.items()]
    metadata = last.metadata | {"epoch": epochs, "epochs": {"strategy": step.name, **step.options}}
    return replace(
        last,
        scores=fused.scores.astype(np.float32),
        score_type=fused.score_type,
        metadata=metadata,
    )
