"""Fusion of score tables: crops, then segments, then streams become one score for each class."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fusion.combining.probabilities import as_probs, softmax, spread, view_logits, view_scores
from fusion.combining.step import MEAN, Step, Steps, make_step
from fusion.combining.strategies import BY_CONFIDENCE, Strategy, geometric, rank, weighted
from fusion.tables.join import Input, JoinedTables, join
from fusion.tables.score_file import ScoreTable, add_fitted_on, shared_metadata, slices
from twostream_base.errors import InputError
from twostream_base.versions import tool_version

DEFAULT_STEPS = Steps()
Calibrate = Callable[[np.ndarray, slice], np.ndarray]


class StepResult(NamedTuple):
    """Fused scores (..., C), their type, and how many times all members were flat."""

    scores: np.ndarray
    score_type: str
    fallbacks: int


@dataclass(frozen=True, eq=False)
class VideoScores:
    """The scores of each stream for each video; whatever compares streams starts here.

    Attributes:
        names: V video names, the same for all streams.
        class_names: C class names.
        labels: int64 (V,), -1 where not known.
        groups: the scene, film or source of each video, or None where it is not known.
        scores: for each stream float64 (V, C).
        score_type: `logits` or `probs`: what the scores are now.
        combine: the same before any strategy was applied.
        metadata: for each stream that of its file, its score type, and the sha256 of its scores.
        warnings: what the reader of a result should know, a line each.
        times: of windows of long videos, float64 (V, 2) in seconds; else None.
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: np.ndarray
    groups: tuple[str, ...] | None
    scores: dict[str, np.ndarray]
    score_type: str
    combine: str
    metadata: dict[str, dict[str, Any]]
    warnings: list[str]
    times: np.ndarray | None = None

    def select_streams(self, streams: Sequence[str]) -> VideoScores:
        """The scores of some streams alone."""
        return replace(
            self,
            scores={key: self.scores[key] for key in streams},
            metadata={key: self.metadata[key] for key in streams},
        )


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
        """Fused scores, float64 (V, C)."""
        return self.table.scores[:, 0, 0]

    @property
    def groups(self) -> tuple[str, ...] | None:
        """The scene, film or source of each video, or None where it is not known."""
        return self.table.groups

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
        crops=make_step(crops),
        segments=make_step(segments),
        streams=make_step(strategy, **options),
        combine=combine,
    )
    return fuse_joined(joined, steps)


def fuse_joined(joined: JoinedTables, steps: Steps = DEFAULT_STEPS) -> Fusion:
    """Fuse joined tables; `steps.epochs` has no effect here. See `fuse`."""
    return fuse_videos(score_videos(joined, steps), steps)


def fuse_videos(streams: VideoScores, steps: Steps) -> Fusion:
    """Fuse the streams of each video; the other `steps` are for the header."""
    step, score_type, warnings = steps.streams, streams.score_type, list(streams.warnings)
    fused = next(iter(streams.scores.values()))
    if len(streams.scores) == 1 and step != MEAN:
        warnings.append(f"there is only one input: {step.name} had no streams to fuse")
    elif len(streams.scores) > 1:
        fused, fallbacks = np.empty_like(fused), 0
        for part, result in fused_slices(streams, step):
            fused[part], score_type = result.scores, result.score_type
            fallbacks += result.fallbacks
        if fallbacks:
            warnings.append(fallback_warning("the streams", fallbacks))
    axes = {"crops": steps.crops, "segments": steps.segments, "streams": step}
    return Fusion(fused_table(streams, fused, score_type, axes), streams, warnings)


def score_videos(
    joined: JoinedTables,
    steps: Steps = DEFAULT_STEPS,
    *,
    calibrations: Mapping[str, Calibrate] | None = None,
) -> VideoScores:
    """Fuse the crops, then the segments of each stream; the other `steps` have no effect here.

    A few videos are read and computed at a time, so that files may be larger than memory.

    A sum of logits is divided by its count first. To combine `probs` every view then goes through
    the softmax.

    Args:
        calibrations: for each stream what turns the logits (n, S, R, C) of a slice of the videos
            into calibrated ones.

    Raises:
        InputError: the tables hold different types of scores, or a strategy breaks its contract.
    """
    types = {
        key: "probs" if table.score_type == "probs" and not calibrations else "logits"
        for key, table in joined.tables.items()
    }
    listed = ", ".join(f"{key} {score_type}" for key, score_type in types.items())
    if steps.combine == "logits" and "probs" in types.values():
        raise InputError(f"probabilities cannot become logits ({listed}); use --combine probs")
    if steps.combine is None and len(set(types.values())) > 1:
        raise InputError(f"the inputs hold different scores ({listed}); use --combine probs")
    combined = steps.combine or next(iter(types.values()))
    results, digests = {}, {}
    for key, table in joined.tables.items():
        digest, parts, fallbacks = hashlib.sha256(), [], 0
        for part in slices(table.scores):
            some = replace(table, scores=table.scores[part])
            digest.update(np.ascontiguousarray(some.scores).data)
            if calibrations:
                views = calibrations[key](view_logits(some), part)
                views = softmax(views) if combined == "probs" else views
            else:
                views = view_scores(some, combined)
            if steps.crops == MEAN:
                # One by one: in which order numpy adds up an axis depends on the memory's layout.
                crop_sum = sum(views[:, :, crop] for crop in range(views.shape[2]))
                of_segments = StepResult(crop_sum / views.shape[2], combined, 0)
            else:
                of_segments = apply_step(views, steps.crops, score_type=combined)
            fused = apply_step(
                of_segments.scores, steps.segments, score_type=of_segments.score_type
            )
            parts.append(fused.scores)
            fallbacks += of_segments.fallbacks + fused.fallbacks
        results[key] = StepResult(np.concatenate(parts), fused.score_type, fallbacks)
        digests[key] = digest.hexdigest()
    warnings = list(joined.warnings)
    recorded = {key: _recorded_inputs(table.metadata) for key, table in joined.tables.items()}
    for first, second in combinations(digests, 2):
        if digests[first] == digests[second]:
            warnings.append(f"{first} and {second} are the same scores: give each stream once")
        elif digests[second] in recorded[first] or digests[first] in recorded[second]:
            derived, source = first, second
            if digests[first] in recorded[second]:
                derived, source = second, first
            warnings.append(
                f"{derived} was fused of the scores of {source}, which so count twice: give either "
                "the fused file or what it was made of"
            )
        elif recorded[first] & recorded[second]:
            warnings.append(
                f"{first} and {second} were fused of some scores alike, which so count twice"
            )
    return VideoScores(
        names=joined.names,
        class_names=joined.class_names,
        labels=joined.labels,
        groups=joined.groups,
        times=joined.times,
        scores={key: result.scores for key, result in results.items()},
        score_type=next(iter(results.values())).score_type,
        combine=combined,
        metadata={
            key: {"kind": table.score_type, "scores_sha256": digests[key], **table.metadata}
            for key, table in joined.tables.items()
        },
        warnings=warnings
        + [
            fallback_warning(key, result.fallbacks)
            for key, result in results.items()
            if result.fallbacks
        ],
    )


def _recorded_inputs(metadata: Mapping[str, Any]) -> set[str]:
    """The sha256 of all scores that a table was fused of, as its header tells, at any depth."""
    digests: set[str] = set()
    inputs = metadata.get("inputs")
    for about in inputs.values() if isinstance(inputs, Mapping) else ():
        if isinstance(about, Mapping):
            digests |= {str(about.get("scores_sha256"))} | _recorded_inputs(about)
    return digests - {"None"}


def mean_scores(table: ScoreTable) -> np.ndarray:
    """The scores of each video, float64 (V, C): the mean of its views."""
    return score_videos(join({"file": table})).scores["file"]


def fused_slices(streams: VideoScores, step: Step) -> Iterator[tuple[slice, StepResult]]:
    """The streams fused, a few videos at a time: which videos, and their result."""
    first = next(iter(streams.scores.values()))
    for part in slices(first):
        stacked = np.stack([stream[part] for stream in streams.scores.values()], axis=-2)
        yield part, apply_step(stacked, step, score_type=streams.score_type)


def apply_step(scores: np.ndarray, step: Step, *, score_type: str) -> StepResult:
    """Fuse scores (..., members, C) of `score_type` (logits or probs) to (..., C).

    Probabilities sum to 1 afterwards.

    Raises:
        InputError: the strategy returned another shape, values that are not finite, or negative
            numbers for probabilities.
    """
    options = dict(step.options)
    if "score_type" in inspect.signature(step.strategy).parameters:
        options["score_type"] = score_type
    result = np.asarray(step.strategy(scores, **options), dtype=np.float64)
    expected = scores.shape[:-2] + scores.shape[-1:]
    if result.shape != expected or not np.isfinite(result).all():
        raise InputError(
            f"strategy {step.name} returned {result.shape} scores; it must return "
            f"finite scores of shape {expected} for {scores.shape}"
        )
    fused_type, fallbacks = score_type, 0
    makes_probs = step.strategy in (geometric, rank, *BY_CONFIDENCE)
    if makes_probs and step.options.get("combine") != "scores":
        fused_type = "probs"
    if step.strategy in BY_CONFIDENCE:
        fallbacks = int((~spread(as_probs(scores, score_type)).any(axis=-1)).sum())
    if fused_type == "probs":
        if (result < 0).any():
            raise InputError(
                f"strategy {step.name} made negative scores of probabilities; use --combine logits"
            )
        total = result.sum(axis=-1, keepdims=True)
        # All 0 says nothing about any class: the legacy variance of flat members gives this.
        uniform = np.full_like(result, 1 / result.shape[-1])
        result = np.divide(result, total, out=uniform, where=total > 0)
    return StepResult(result, fused_type, fallbacks)


def fallback_warning(key: str, times: int) -> str:
    """The line for a result of which all members were flat so many times."""
    return f"{key}: all members were flat {times} times, and were weighted equally there"


def fused_table(
    streams: VideoScores,
    scores: np.ndarray,
    score_type: str,
    steps: Mapping[str, Step],
    *,
    fitted_on: str | None = None,
) -> ScoreTable:
    """A score table of fused (V, C) scores, whose header tells its inputs and `steps` by axis.

    Args:
        fitted_on: on which labels of these videos something was fitted, if on any.
    """
    metadata: dict[str, Any] = add_fitted_on(shared_metadata(streams.metadata), fitted_on) | {
        "stream": "fusion",
        **{axis: {"strategy": step.name, **step.options} for axis, step in steps.items()},
        "combine": streams.combine,
        "inputs": streams.metadata,
        "versions": {"twostream": tool_version(), "numpy": np.__version__},
    }
    return ScoreTable(
        names=streams.names,
        class_names=streams.class_names,
        # Not as float32: rounding makes ties, and so other first classes than were counted.
        scores=np.asarray(scores, np.float64)[:, None, None, :],
        labels=streams.labels,
        score_type=score_type,
        metadata=metadata,
        groups=streams.groups,
        times=streams.times,
    )


def fuse_epochs(
    tables: Mapping[str, ScoreTable], step: Step, *, groups: str | None = None
) -> ScoreTable:
    """One table of the same stream at several epochs (oldest first), view by view.

    One epoch alone stays as it is.

    Raises:
        InputError: the tables do not join, differ in their views, or the strategy fails.
    """
    if len(tables) == 1:
        return next(iter(tables.values()))
    joined = join(tables, groups=groups).tables
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
    return replace(last, scores=fused.scores, score_type=fused.score_type, metadata=metadata)
