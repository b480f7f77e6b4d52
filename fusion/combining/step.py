"""One step of a fusion: a strategy fuses the members of one axis, and its result is checked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fusion.combining.probabilities import as_probs, spread
from fusion.combining.strategies import (
    BY_CONFIDENCE,
    STRATEGIES,
    VARIANCE_FORMS,
    Strategy,
    mean,
    returned_type,
    variance,
)
from twostream_base.errors import InputError
from twostream_base.plugins import load


@dataclass(frozen=True)
class Step:
    """How the members of an axis become one: a strategy, its name in headers, and its options."""

    name: str
    strategy: Strategy
    options: Mapping[str, Any] = field(default_factory=dict)


MEAN = Step("mean", mean)


@dataclass(frozen=True)
class Steps:
    """The step of each axis, in the order of fusion."""

    epochs: Step = MEAN
    crops: Step = MEAN
    segments: Step = MEAN
    streams: Step = MEAN


class StepResult(NamedTuple):
    """Fused scores (..., C), their type, and how many times all members were flat."""

    scores: np.ndarray
    score_type: str
    fallbacks: int


def make_step(strategy: str | Strategy | Step, *, form: str | None = None, **options: Any) -> Step:
    """A step from a name in `STRATEGIES`, `package.module:function`, or a function.

    Args:
        form: of the strategy `variance`: `normalised` (the default) or `legacy`.
        options: of the strategy, as `k=2` of `topk`.

    Raises:
        InputError: an unknown strategy or form, or options that it cannot be called with.
    """
    if isinstance(strategy, Step):
        return strategy
    function: Strategy = load(strategy, STRATEGIES) if isinstance(strategy, str) else strategy
    known = {entry: name for name, entry in STRATEGIES.items()}
    typed = strategy if isinstance(strategy, str) else getattr(strategy, "__name__", "custom")
    name = known.get(function, str(typed))
    if function is variance:
        if form not in (None, *VARIANCE_FORMS):
            raise InputError(f"variance form={form!r}; allowed: {', '.join(VARIANCE_FORMS)}")
        options = VARIANCE_FORMS[form or "normalised"] | options
    elif form is not None:
        raise InputError(f"form={form!r} is an option of the strategy variance, not of {name}")
    try:
        inspect.signature(function).bind(np.empty((1, 1, 1)), **options)
    except (TypeError, ValueError) as error:
        call = ", ".join(["scores", *options])
        raise InputError(f"strategy {name} cannot be called with ({call}): {error}") from None
    return Step(name, function, options)


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
    fused_type = returned_type(step.strategy, step.options, score_type=score_type)
    fallbacks = 0
    if step.strategy in BY_CONFIDENCE:
        fallbacks = int((~spread(as_probs(scores, score_type)).any(axis=-1)).sum())
    if fused_type == "probs":
        result = _summing_to_one(result, step)
    return StepResult(result, fused_type, fallbacks)


def fallback_warnings(results: Mapping[str, StepResult]) -> list[str]:
    """A line for each result, by its key, in which all members were flat somewhere."""
    return [
        f"{key}: all members were flat {result.fallbacks} times, and were weighted equally there"
        for key, result in results.items()
        if result.fallbacks
    ]


def _summing_to_one(scores: np.ndarray, step: Step) -> np.ndarray:
    if (scores < 0).any():
        raise InputError(
            f"strategy {step.name} made negative scores of probabilities; use --combine logits"
        )
    total = scores.sum(axis=-1, keepdims=True)
    # All 0 says nothing about any class: the legacy variance of flat members gives this.
    uniform = np.full_like(scores, 1 / scores.shape[-1])
    return np.divide(scores, total, out=uniform, where=total > 0)
