"""The steps of a fusion: which strategy fuses the members of each axis, with which options.

A step is made by `make_step`, or by `find_steps` from the options of a command; `fuse.py` takes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.strategies import (
    STRATEGIES,
    VARIANCE_FORMS,
    Strategy,
    mean,
    variance,
    weighted,
)
from twostream_base.errors import InputError, some_of
from twostream_base.plugins import load, read_options, read_pairs
from twostream_base.text import read_csv


@dataclass(frozen=True)
class Step:
    """How the members of an axis become one: a strategy, its name in headers, and its options."""

    name: str
    strategy: Strategy
    options: Mapping[str, Any] = field(default_factory=dict)


MEAN = Step("mean", mean)


@dataclass(frozen=True)
class Steps:
    """How scores are fused: the step of each axis, in the order of fusion.

    `combine` is what is fused, `logits` or `probs`; None: what the tables hold.
    """

    epochs: Step = MEAN
    crops: Step = MEAN
    segments: Step = MEAN
    streams: Step = MEAN
    combine: str | None = None


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """The strategy of each axis and its options, as typed at the command line.

    Attributes:
        strategy, segments, crops, over_epochs: a name of STRATEGIES or `module:function`.
        weights: `STREAM=W,...`. segment_weights: `W,...`. class_weights: a CSV file.
        variance: a name of VARIANCE_FORMS. strategy_option: texts `key=value`.
        combine: `logits`, `probs`, or None for what the files hold.
    """

    strategy: str = "mean"
    segments: str = "mean"
    crops: str = "mean"
    over_epochs: str = "mean"
    weights: str | None = None
    segment_weights: str | None = None
    class_weights: Path | None = None
    variance: str | None = None
    strategy_option: Sequence[str] = ()
    combine: str | None = None


def make_step(strategy: str | Strategy | Step, /, **options: Any) -> Step:
    """A step from a name in `STRATEGIES`, a function, or a `TrustedName` (see `plugins.load`).

    Args:
        options: of the strategy, as `k=2` of `topk`; of `variance` also `form`, `normalised` (the
            default) or `legacy`.

    Raises:
        InputError: an unknown strategy or form, or options that it cannot be called with.
    """
    if isinstance(strategy, Step):
        return strategy
    function: Strategy = load(strategy, STRATEGIES)
    known = {entry: name for name, entry in STRATEGIES.items()}
    typed = strategy if isinstance(strategy, str) else getattr(strategy, "__name__", "custom")
    name = known.get(function, str(typed))
    if function is variance:
        form = options.pop("form", "normalised")
        if form not in VARIANCE_FORMS:
            raise InputError(f"variance form={form!r}; allowed: {', '.join(VARIANCE_FORMS)}")
        options = VARIANCE_FORMS[form] | options
    try:
        inspect.signature(function).bind(np.empty((1, 1, 1)), **options)
    except (TypeError, ValueError) as error:
        call = ", ".join(["scores", *options])
        raise InputError(f"strategy {name} cannot be called with ({call}): {error}") from None
    return Step(name, function, options)


def find_steps(
    options: StepOptions, *, streams: Sequence[str], class_names: Sequence[str]
) -> Steps:
    """The step of each axis; `streams` are the inputs, in the order of fusion.

    Raises:
        InputError: an option that is malformed, missing, or without effect.
    """
    names = {
        "epochs": options.over_epochs,
        "crops": options.crops,
        "segments": options.segments,
        "streams": options.strategy,
    }
    strategies: dict[str, Strategy] = {axis: load(name, STRATEGIES) for axis, name in names.items()}
    streams_weighted = strategies["streams"] is weighted
    for option, value, has_effect, cure in (
        ("--weights", options.weights, streams_weighted, "--strategy weighted"),
        ("--class-weights", options.class_weights, streams_weighted, "--strategy weighted"),
        ("--segment-weights", options.segment_weights, strategies["segments"] is weighted,
         "--segments weighted"),
        ("--variance", options.variance, variance in strategies.values(), "the strategy variance"),
    ):  # fmt: skip
        if value and not has_effect:
            listed = " and ".join(dict.fromkeys(names.values()))
            raise InputError(f"{option} has no effect on {listed}; it needs {cure}")
    extra = read_options(options.strategy_option, option="--strategy-option")
    for key in extra:
        if not any(_takes(strategy, key) for strategy in strategies.values()):
            listed = ", ".join(dict.fromkeys(names.values()))
            raise InputError(f"--strategy-option {key} has no effect: {listed} do not take it")
    steps: dict[str, Step] = {}
    for axis, strategy in strategies.items():
        step_options = {key: value for key, value in extra.items() if _takes(strategy, key)}
        if strategy is weighted:
            step_options["weights"] = _weights(axis, options, streams, class_names)
        if strategy is variance and options.variance:
            step_options["form"] = options.variance
        steps[axis] = make_step(names[axis], **step_options)
    return Steps(**steps, combine=options.combine)


def _takes(strategy: Strategy, option: str) -> bool:
    """Whether a user may give a strategy this option: not the score type, nor weights."""
    if option == "score_type" or (strategy is weighted and option == "weights"):
        return False
    try:
        _, *parameters = inspect.signature(strategy).parameters.values()
    except (TypeError, ValueError):  # some built-in functions do not tell what they take
        return True
    return any(p.name == option or p.kind is p.VAR_KEYWORD for p in parameters)


def _weights(
    axis: str, options: StepOptions, streams: Sequence[str], class_names: Sequence[str]
) -> Any:
    """What the strategy `weighted` of an axis multiplies."""
    if axis == "segments" and options.segment_weights:
        return [_number(text, "--segment-weights") for text in options.segment_weights.split(",")]
    if axis == "streams" and options.class_weights:
        if options.weights:
            raise InputError("--weights and --class-weights both weight the streams; give only one")
        return read_class_weights(options.class_weights, streams, class_names).tolist()
    if axis == "streams" and options.weights:
        pairs = read_pairs(options.weights.split(","), option="--weights")
        weights = {key: _number(value, "--weights") for key, value in pairs.items()}
        if set(weights) != set(streams):
            example = ",".join(f"{key}=1" for key in streams)
            raise InputError(
                f"--weights names {', '.join(weights)}; the inputs are {', '.join(streams)}: "
                f"give each one a weight, as {example}"
            )
        return [weights[key] for key in streams]
    option = {"streams": "--weights", "segments": "--segment-weights"}.get(axis)
    raise InputError(
        f"the strategy `weighted` needs {option}" if option else f"{axis} cannot be weighted"
    )


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option}: {text!r} is not a number") from None


def read_class_weights(
    path: Path, streams: Sequence[str], class_names: Sequence[str]
) -> np.ndarray:
    """Weights (streams, classes) of a CSV file: `class,spatial,motion`, then a row for each class.

    Raises:
        InputError: other streams or classes than these, a class twice, or what is not a number.
    """
    header, *rows = read_csv(path) or [[]]
    if sorted(header[1:]) != sorted(streams):
        expected = ",".join(["class", *streams])
        raise InputError(f"{path}: the first line is {','.join(header)!r}; expected {expected!r}")
    by_class = {row[0]: row[1:] for row in rows if row}
    unlike = sorted(set(by_class) ^ set(class_names))
    if unlike or len(by_class) != len([row for row in rows if row]):
        names = some_of(unlike or [*by_class])
        raise InputError(f"{path}: each class needs one row; look at {names}")
    columns = [header[1:].index(key) for key in streams]
    try:
        table = [[float(by_class[name][column]) for name in class_names] for column in columns]
    except (ValueError, IndexError):
        raise InputError(f"{path}: a weight that is missing or not a number") from None
    return np.array(table)
