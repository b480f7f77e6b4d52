"""One step of a fusion: a strategy makes one score of many voters, and is held to its contract."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fusion.combining.confidence import count_fallbacks, entropy, margin, variance
from fusion.combining.strategies import Strategy, mean, returned_kind
from twostream_base.errors import InputError

_FALL_BACK = (variance, entropy, margin)


@dataclass(frozen=True)
class Step:
    """How voters become one: a strategy, the name it has in headers, and its options."""

    name: str
    strategy: Strategy
    options: Mapping[str, Any] = field(default_factory=dict)


class Reduced(NamedTuple):
    """What a step made: scores (..., C), their kind, and how often it met only flat voters."""

    scores: np.ndarray
    kind: str
    fallbacks: int


MEAN = Step("mean", mean)


def reduced(scores: np.ndarray, step: Step, *, kind: str) -> Reduced:
    """Apply a step to scores of `kind` (logits or probs), (..., voters, C) -> (..., C).

    Probabilities sum to 1 afterwards.

    Raises:
        InputError: the strategy returned another shape, something not finite, or negative numbers
            for probabilities.
    """
    options = dict(step.options)
    if "kind" in inspect.signature(step.strategy).parameters:
        options["kind"] = kind
    result = np.asarray(step.strategy(scores, **options), dtype=np.float64)
    expected = scores.shape[:-2] + scores.shape[-1:]
    if result.shape != expected or not np.isfinite(result).all():
        raise InputError(
            f"strategy {step.name} returned {result.shape} scores; it must return "
            f"finite scores of shape {expected} for {scores.shape}"
        )
    made = returned_kind(step.strategy, step.options, kind=kind)
    fallbacks = count_fallbacks(scores, kind=kind) if step.strategy in _FALL_BACK else 0
    return Reduced(_summing_to_one(result, step) if made == "probs" else result, made, fallbacks)


def fallback_warnings(made: Mapping[str, Reduced]) -> list[str]:
    """A line for each step, by its key, that met only flat voters somewhere."""
    return [
        f"{key}: weighting by confidence met only flat voters {step.fallbacks} times and weighted "
        "them equally"
        for key, step in made.items()
        if step.fallbacks
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
