"""From the words of the command line to the steps of a fusion."""

from __future__ import annotations

import csv
import inspect
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.confidence import VARIANCE_FORMS, variance
from fusion.combining.inputs import Input
from fusion.combining.step import Step
from fusion.combining.strategies import STRATEGIES, Strategy, weighted
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text, write_text
from twostream_base.plugins import load, read_options, read_pairs

AXES = ("epochs", "crops", "segments", "streams")  # in the order of fusion


@dataclass(frozen=True)
class StepOptions:
    """The options of the command line that choose and shape the strategies, as typed."""

    strategy: str = "mean"
    segments: str = "mean"
    crops: str = "mean"
    over_epochs: str = "mean"
    weights: str | None = None
    segment_weights: str | None = None
    class_weights: Path | None = None
    variance: str | None = None
    strategy_option: Sequence[str] = ()

    def names(self) -> dict[str, str]:
        """The strategy of each axis."""
        chosen = (self.over_epochs, self.crops, self.segments, self.strategy)
        return dict(zip(AXES, chosen, strict=True))


def input_steps(options: StepOptions, inputs: Mapping[str, Input]) -> dict[str, Step]:
    """The step of each of `AXES` for these inputs: see `chosen_steps`."""
    first = next(iter(next(iter(inputs.values())).tables.values()))
    return chosen_steps(options, keys=list(inputs), class_names=first.class_names)


def chosen_steps(
    options: StepOptions, *, keys: Sequence[str], class_names: Sequence[str]
) -> dict[str, Step]:
    """The step of each of `AXES`; `keys` are the inputs, in the order of fusion.

    Raises:
        InputError: an option that is malformed, lacking, or without effect.
    """
    _check_effects(options)
    weights = _all_weights(options, keys, class_names)
    given = read_options(options.strategy_option, option="--strategy-option")
    strategies = {axis: load(name, STRATEGIES) for axis, name in options.names().items()}
    _check_all_taken(given, options, strategies.values())
    steps = {}
    for axis, strategy in strategies.items():
        shaped = {key: value for key, value in given.items() if _takes(strategy, key)}
        if strategy is weighted:
            shaped["weights"] = _needed_weights(weights, axis)
        if strategy is variance:
            shaped = VARIANCE_FORMS[options.variance or "normalised"] | shaped
        steps[axis] = _checked(Step(options.names()[axis], strategy, shaped))
    return steps


def _checked(step: Step) -> Step:
    try:
        inspect.signature(step.strategy).bind(np.empty((1, 1, 1)), **step.options)
    except (TypeError, ValueError) as error:
        call = ", ".join(["scores", *step.options])
        raise InputError(f"strategy {step.name} cannot be called with ({call}): {error}") from None
    return step


def _takes(strategy: Strategy, option: str) -> bool:
    """Whether a user may give this option: not what the scores are, nor typed weights."""
    if option == "kind" or (strategy is weighted and option == "weights"):
        return False
    try:
        _, *parameters = inspect.signature(strategy).parameters.values()
    except (TypeError, ValueError):  # some built-in functions do not tell what they take
        return True
    return any(one.name == option or one.kind is one.VAR_KEYWORD for one in parameters)


def _check_all_taken(
    given: Mapping[str, Any], options: StepOptions, strategies: Iterable[Strategy]
) -> None:
    chosen = list(strategies)
    for key in given:
        if not any(_takes(strategy, key) for strategy in chosen):
            names = ", ".join(dict.fromkeys(options.names().values()))
            raise InputError(
                f"--strategy-option {key} does nothing: {names} cannot be called with it"
            )


def _all_weights(
    options: StepOptions, keys: Sequence[str], class_names: Sequence[str]
) -> dict[str, Any]:
    if options.weights and options.class_weights:
        raise InputError("--weights and --class-weights both say how streams weigh; give one")
    weights: dict[str, Any] = {}
    if options.weights:
        weights["streams"] = _keyed_weights(options.weights, keys)
    if options.class_weights:
        table = read_class_weights(options.class_weights, keys=keys, class_names=class_names)
        weights["streams"] = table.tolist()
    if options.segment_weights:
        weights["segments"] = [
            _number(value, "--segment-weights") for value in options.segment_weights.split(",")
        ]
    return weights


def _needed_weights(weights: Mapping[str, Any], axis: str) -> Any:
    if axis not in weights:
        cure = {"streams": "--weights", "segments": "--segment-weights"}.get(axis)
        raise InputError(
            f"the strategy `weighted` needs {cure}" if cure else f"{axis} cannot be weighted"
        )
    return weights[axis]


def _check_effects(options: StepOptions) -> None:
    """An option that would do nothing is a mistake of its user."""
    chosen = options.names()
    by_weight = "--strategy weighted"
    for option, given, useful, cure in (
        ("--weights", options.weights, chosen["streams"] == "weighted", by_weight),
        ("--class-weights", options.class_weights, chosen["streams"] == "weighted", by_weight),
        ("--segment-weights", options.segment_weights, chosen["segments"] == "weighted",
         "--segments weighted"),
        ("--variance", options.variance, "variance" in chosen.values(), "the strategy variance"),
    ):  # fmt: skip
        if given and not useful:
            unlike = " and ".join(dict.fromkeys(chosen.values()))
            raise InputError(f"{option} does nothing for {unlike}; it needs {cure}")


def _keyed_weights(text: str, keys: Sequence[str]) -> list[float]:
    pairs = read_pairs(text.split(","), option="--weights")
    weights = {key: _number(value, "--weights") for key, value in pairs.items()}
    if set(weights) != set(keys):
        example = ",".join(f"{key}=1" for key in keys)
        raise InputError(
            f"--weights names {', '.join(weights)}; the inputs are {', '.join(keys)}: "
            f"give each one a weight, as {example}"
        )
    return [weights[key] for key in keys]


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option}: {text!r} is not a number") from None


# Weights for each stream and class, as a CSV file: `class,spatial,motion` and a row a class.
def read_class_weights(
    path: Path, *, keys: Sequence[str], class_names: Sequence[str]
) -> np.ndarray:
    """Weights (streams, classes) in the order of `keys` and `class_names`.

    Raises:
        InputError: other streams or classes than these, a class twice, or what is no number.
    """
    header, *rows = list(csv.reader(io.StringIO(read_text(path)))) or [[]]
    if sorted(header[1:]) != sorted(keys):
        expected = ",".join(["class", *keys])
        raise InputError(f"{path}: the first line is {','.join(header)!r}; expected {expected!r}")
    by_class = {row[0]: row[1:] for row in rows if row}
    odd = sorted(set(by_class) ^ set(class_names))
    if odd or len(by_class) != len([row for row in rows if row]):
        raise InputError(f"{path}: each class needs one row; look at {some_of(odd or [*by_class])}")
    order = [header[1:].index(key) for key in keys]
    try:
        table = [[float(by_class[name][place]) for name in class_names] for place in order]
    except (ValueError, IndexError):
        raise InputError(f"{path}: a weight that is missing or no number") from None
    return np.array(table)


def write_class_weights(
    path: Path, weights: np.ndarray, *, keys: Sequence[str], class_names: Sequence[str]
) -> None:
    """Write (streams, classes) weights as `read_class_weights` takes them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", *keys])
    writer.writerows(
        [name, *(f"{weight:.6g}" for weight in column)]
        for name, column in zip(class_names, weights.T, strict=True)
    )
    write_text(path, text.getvalue())
