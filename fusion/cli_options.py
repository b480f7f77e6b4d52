"""Options that the commands on score files share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from fusion.confidence import VARIANCE_FORMS
from fusion.strategies import STRATEGIES
from twostream.plugins import PlugIn

Command = TypeVar("Command", bound=Callable[..., Any])
SCORE_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SCORE_INPUT = click.Path(exists=True, path_type=Path)


def input_options(command: Command) -> Command:
    """Add FILES and the options that find them: the fields of `InputOptions`."""
    for add in reversed((
        click.argument("files", nargs=-1, type=SCORE_INPUT),
        click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"),
                     show_default=True, help="Run folders, searched when no FILES are given."),
        click.option("--dataset", help="Only runs of this data set."),
        click.option("--split", type=click.IntRange(min=1), help="Only runs of this split."),
        click.option("--subset", type=click.Choice(["val", "test"]), default="test",
                     show_default=True, help="The scores of which videos."),
        click.option("--epochs", metavar="last:N|all|N,...",
                     help="Fuse the scores that `train --dump-scores` kept of these epochs."),
    )):  # fmt: skip
        command = add(command)
    return command


def axis_options(command: Command) -> Command:
    """Add how crops and segments are fused."""
    for name, what in (
        ("--segments", "How the segments of each video are fused, before the streams."),
        ("--crops", "How the crops of each segment are fused, before the segments."),
    ):
        command = _by_strategy(name, what)(command)
    return command


def view_options(command: Command) -> Command:
    """Add how epochs, crops and segments are fused."""
    over_epochs = _by_strategy("--over-epochs", "How the --epochs are fused, before the crops.")
    return over_epochs(axis_options(command))


def _by_strategy(option: str, what: str) -> Callable[[Command], Command]:
    return click.option(
        option, type=PlugIn(STRATEGIES), default="mean", show_default=True, help=what
    )


def strategy_options(command: Command) -> Command:
    """Add how the streams are fused, and the options of all strategies: `StepOptions`."""
    return _strategy_options(command, view_options)


def single_strategy_options(command: Command) -> Command:
    """The same without epochs, for scores that were just made."""
    return _strategy_options(command, axis_options)


def several_strategies_options(command: Command) -> Command:
    """Add which fusions are made side by side: `strategies` and `stream_weights`."""
    for add in reversed((
        click.option("--strategy", "strategies", type=PlugIn(STRATEGIES), multiple=True,
                     default=("mean", "max", "geometric", "rank", "variance"), show_default=True,
                     help="A fusion of the streams; may be repeated."),
        click.option("--weights", "stream_weights", metavar="STREAM=W,...",
                     help="For --strategy weighted."),
    )):  # fmt: skip
        command = add(command)
    return command


def _strategy_options(command: Command, views: Callable[[Command], Command]) -> Command:
    for add in reversed((
        click.option("--strategy", type=PlugIn(STRATEGIES), default="mean", show_default=True,
                     help="How the streams are fused."),
        views,
        click.option("--weights", metavar="STREAM=W,...",
                     help="For --strategy weighted, as spatial=2,motion=1."),
        click.option("--class-weights", type=SCORE_FILE,
                     help="For --strategy weighted: CSV file, a weight a class and stream."),
        click.option("--segment-weights", metavar="W,...",
                     help="For --segments weighted, as 1,2,1."),
        click.option("--variance", type=click.Choice(list(VARIANCE_FORMS)),
                     help="Form of the variance strategy.  [default: normalised]"),
        click.option("--strategy-option", multiple=True, metavar="KEY=VALUE",
                     help="Option of a strategy, as k=2 of topk; may be repeated."),
        click.option("--combine", type=click.Choice(["logits", "probs"]),
                     help="What is fused.  [default: what the files hold]"),
    )):  # fmt: skip
        command = add(command)
    return command


def hold_out_options(command: Command) -> Command:
    """Add on which videos things are fitted: the fields of `HoldOutOptions` but the calibration."""
    for add in reversed((
        click.option("--val", multiple=True, type=SCORE_FILE,
                     help="Validation scores of each input, in their order; may be repeated.  "
                     "[default: val.safetensors beside each]"),
        click.option("--groups", metavar="NAME|CSV|PATTERN",
                     help="Which videos a fold never parts: ucf101, hmdb51, video (each alone), a "
                     "file of name,group, or a pattern.  [default: by data set]"),
        click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True,
                     help="How many folds."),
    )):  # fmt: skip
        command = add(command)
    return command


def calibration_options(command: Command) -> Command:
    """Add whether and how the streams are calibrated."""
    for add in reversed((
        click.option("--calibrate", type=click.Choice(["none", "val", "crossfit"]),
                     default="none", show_default=True,
                     help="Bring the streams to one scale first, fitted on validation scores, or "
                     "in grouped folds of the file itself."),
        click.option("--calibration", type=click.Choice(["temperature", "vector"]),
                     default="temperature", show_default=True,
                     help="By one number a stream, or a factor and an offset a class."),
    )):  # fmt: skip
        command = add(command)
    return command


def learning_options(command: Command) -> Command:
    """Add whether the streams are fused by what is learnt from labels."""
    for add in reversed((
        click.option("--learn", type=click.Choice(["none", "class-weights", "stacking"]),
                     default="none", show_default=True,
                     help="Learn from labels how to fuse the streams, instead of --strategy."),
        click.option("--learn-on", type=click.Choice(["crossfit", "val"]), default="crossfit",
                     show_default=True,
                     help="From the other grouped folds of the files, or from validation scores."),
    )):  # fmt: skip
        command = add(command)
    return command


def taken(choices: dict[str, Any], kind: type) -> Any:
    """Build one of the option classes from those of `choices` that are its fields."""
    return kind(
        **{field.name: choices[field.name] for field in fields(kind) if field.name in choices}
    )
