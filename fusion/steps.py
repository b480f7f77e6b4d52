"""From the words of the command line to the steps of a fusion."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion.fuse import Step
from fusion.strategies import STRATEGIES
from twostream.errors import InputError
from twostream.plugins import load


@dataclass(frozen=True)
class StepOptions:
    """The options of `twostream fuse` that choose and shape the strategies, as typed."""

    strategy: str
    segments: str
    weights: str | None
    segment_weights: str | None
    variance: str | None
    strategy_option: Sequence[str]


def chosen_steps(options: StepOptions, *, keys: Sequence[str]) -> tuple[Step, Step]:
    """The steps for segments and for streams; `keys` are the inputs, in the order of fusion.

    Raises:
        InputError: an option that is malformed, lacking, or without effect.
    """
    _check_effects(options)
    stream_weights = _keyed_weights(options.weights, keys) if options.weights else None
    segment_weights = _listed_weights(options.segment_weights) if options.segment_weights else None
    own = _own_options(options.strategy_option)
    return (
        _step(options.segments, "--segment-weights", segment_weights, options.variance, own),
        _step(options.strategy, "--weights", stream_weights, options.variance, own),
    )


def _step(
    name: str,
    weights_option: str,
    weights: list[float] | None,
    form: str | None,
    own: Mapping[str, Any],
) -> Step:
    if name == "weighted" and weights is None:
        raise InputError(f"the strategy `weighted` needs {weights_option}")
    strategy = load(name, STRATEGIES)
    options = _built_in_options(name, weights, form) if name in STRATEGIES else dict(own)
    try:
        inspect.signature(strategy).bind(np.empty((1, 1, 1)), **options)
    except (TypeError, ValueError) as error:
        call = ", ".join(["scores", *options])
        raise InputError(f"strategy {name} cannot be called with ({call}): {error}") from None
    return Step(name, strategy, options)


def _built_in_options(name: str, weights: list[float] | None, form: str | None) -> dict[str, Any]:
    if name == "weighted":
        return {"weights": weights}
    return {"form": form or "normalised"} if name == "variance" else {}


def _check_effects(options: StepOptions) -> None:
    """An option that would do nothing is a mistake of its user."""
    chosen = (options.strategy, options.segments)
    plugged_in = any(name not in STRATEGIES for name in chosen)
    for option, given, useful, cure in (
        ("--weights", options.weights, chosen[0] == "weighted", "--strategy weighted"),
        ("--segment-weights", options.segment_weights, chosen[1] == "weighted",
         "--segments weighted"),
        ("--variance", options.variance, "variance" in chosen, "the strategy variance"),
        ("--strategy-option", options.strategy_option, plugged_in, "a strategy module:function"),
    ):  # fmt: skip
        if given and not useful:
            raise InputError(f"{option} does nothing for {' and '.join(chosen)}; it needs {cure}")


def _keyed_weights(text: str, keys: Sequence[str]) -> list[float]:
    pairs = _pairs(text.split(","), "--weights")
    weights = {key: _number(value, "--weights") for key, value in pairs.items()}
    if set(weights) != set(keys):
        example = ",".join(f"{key}=1" for key in keys)
        raise InputError(
            f"--weights names {', '.join(weights)}; the inputs are {', '.join(keys)}: "
            f"give each one a weight, as {example}"
        )
    return [weights[key] for key in keys]


def _listed_weights(text: str) -> list[float]:
    return [_number(value, "--segment-weights") for value in text.split(",")]


def _own_options(texts: Sequence[str]) -> dict[str, Any]:
    pairs = _pairs(texts, "--strategy-option")
    return {key: _json_or_text(value) for key, value in pairs.items()}


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key or key in pairs:
            raise InputError(f"{option} {','.join(texts)!r}: expected key=value, each key once")
        pairs[key] = value
    return pairs


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option}: {text!r} is not a number") from None


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
