"""Options that the commands on score files share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fusion.combining.strategies import COMPARED, STRATEGIES, VARIANCE_FORMS
from twostream.commands import console
from twostream.commands.option_files import read_project
from twostream.commands.option_types import (
    FILE,
    OUT_PATH,
    PROJECT,
    SCORE_INPUT,
    SPLITS,
    PlugIn,
    any_of,
)
from twostream_base.errors import InputError

if TYPE_CHECKING:
    from fusion.combining.inputs import FusionOptions

_files = (
    click.argument("files", nargs=-1, type=SCORE_INPUT),
    click.option(
        "--runs",
        type=OUT_PATH,
        default=Path("runs"),
        help="Folder of the run folders, searched when no FILES are given.",
    ),
    click.option("--dataset", metavar="NAME", help="Search only runs of this data set."),
)
_split = click.option("--split", type=click.IntRange(min=1), help="Search only runs of this split.")
_several = (
    click.option(
        "--splits",
        type=SPLITS,
        help="Several splits, each by itself, and their mean; overrides --split.",
    ),
    click.option(
        "--model", metavar="NAME,...", help="Search only runs of these models, such as 'resnet*'."
    ),
    click.option(
        "--name",
        metavar="PATTERN",
        help="Search only runs of this name, as `train --name` gave it; '' for those of none.",
    ),
    click.option(
        "--subset",
        type=click.Choice(["val", "test"]),
        default="test",
        help="Videos whose scores are used.",
    ),
    click.option(
        "--epochs",
        metavar="last:N|all|N,...",
        help="Fuse the scores of several epochs, kept by `train --dump-scores`.",
    ),
)

# FILES and the options that find them: fields of `FusionOptions`.
inputs = console.section("Score files", *_files, _split, *_several)
inputs_of_a_split = console.section("Score files", *_files, _split, *_several[1:])
inputs_of_splits = console.section("Score files", *_files, *_several)

combine = console.section(
    "Strategies",
    click.option(
        "--combine",
        type=click.Choice(["logits", "probs"]),
        help="Fuse logits or probabilities; these are divided by their sum after every step, as "
        "before the streams after --segments max.  [default: what the files hold]",
    ),
)


forms = click.option(
    "--forms",
    is_flag=True,
    help="Compare what each form of using RGB and flow costs, and which is worth it: the streams, "
    "their late fusions, joint and distilled networks. Without FILES, all such runs of a split.",
)


def weigh(options: FusionOptions) -> dict[str, Any]:
    """Compare the forms, and what each costs for a video on this machine.

    What is not known of a form is told.
    """
    import torch

    from fusion.evaluation.forms import weigh_forms
    from fusion.workflows import compare_forms
    from twostream.commands.shared_options import find_device
    from twostream.compute.device import find_precision
    from twostream.scoring.costs import Cost, cost_of_all, cost_of_run

    with console.LateProgress() as progress:
        compared = compare_forms(options, progress=progress)
    device = torch.device(find_device("auto"))
    of_inputs: dict[str, Cost] = {}
    for name, file in compared["files"].items():
        card = compared["protocols"][name]
        run = Path(file).absolute().parents[1]
        try:
            if not card:
                raise InputError(f"{file} does not tell its protocol")
            of_inputs[name] = cost_of_run(
                run,
                card,
                device=device,
                precision=find_precision("auto", device),
                trust_plugins=console.trusts_plugins(),
            )
        except InputError as error:
            console.tell(f"the cost of {name} is not known: {error}")
    costs = {
        form: cost_of_all([of_inputs[name] for name in parts])._asdict()
        for form, parts in compared["parts"].items()
        if set(parts) <= of_inputs.keys()
    }
    return compared | weigh_forms(compared, costs)


def strategy_option(name: str, text: str) -> Callable[[Any], Any]:
    """An option that takes the name of a strategy."""
    return click.option(name, type=PlugIn(STRATEGIES), default="mean", help=text)


_names = "names as for --strategy"
_segments = strategy_option(
    "--segments", f"How the segments of a video are fused, before the streams; {_names}."
)
_crops = strategy_option(
    "--crops", f"How the crops of a segment are fused, before the segments; {_names}."
)
_over_epochs = strategy_option(
    "--over-epochs", f"How the --epochs are fused, before the crops; {_names}."
)
_streams = strategy_option("--strategy", f"How the streams are fused: {any_of(STRATEGIES)}.")
weights_option = click.option(
    "--weights",
    metavar="STREAM=W,...",
    help="Weights for --strategy weighted, such as spatial=2,motion=1.",
)
_parameters = (
    click.option(
        "--class-weights",
        type=FILE,
        help="CSV file for --strategy weighted, with a weight for each class and stream.",
    ),
    click.option(
        "--segment-weights", metavar="W,...", help="Weights for --segments weighted, such as 1,2,1."
    ),
    click.option(
        "--variance",
        type=click.Choice(list(VARIANCE_FORMS)),
        help="Form of the variance strategy.  [default: normalised]",
    ),
    click.option(
        "--strategy-option",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of a strategy, such as k=2 of topk; repeatable.",
    ),
)

# How epochs, crops and segments are fused.
views = console.section("Strategies", _segments, _crops, _over_epochs)

# How the streams are fused too, and the options of all strategies: the fields of `StepOptions`.
strategies = console.section(
    "Strategies", _streams, _segments, _crops, _over_epochs, weights_option, *_parameters, combine
)

# The same without epochs, for scores that were just made; `predict` has a --weights of its own.
strategies_without_epochs = console.section(
    "Fusion", _streams, _segments, _crops, *_parameters, combine
)

# Which fusions are made side by side: `strategies` and `stream_weights`.
several_strategies = console.section(
    "Strategies",
    click.option(
        "--strategy",
        "strategies",
        type=PlugIn(STRATEGIES),
        multiple=True,
        default=COMPARED,
        help=f"A fusion of the streams; repeatable: {any_of(STRATEGIES)}.",
    ),
    click.option(
        "--weights",
        "stream_weights",
        metavar="STREAM=W,...",
        help="Weights for --strategy weighted, such as spatial=2,motion=1.",
    ),
)

# On which videos things are fitted: fields of `FusionOptions`.
hold_out = console.section(
    "Held-out videos",
    click.option(
        "--val",
        multiple=True,
        type=SCORE_INPUT,
        help="Validation scores, once for each input, in their order; with --splits `{split}` "
        "stands for the number.  [default: val.safetensors next to each]",
    ),
    click.option(
        "--groups",
        metavar="NAME|CSV|PATTERN",
        help="Videos that stay in one fold: ucf101 or hmdb51 (their groups), video (each on its "
        "own), a CSV file of name,group, or a pattern.  [default: those in FILES]",
    ),
    click.option("--folds", type=click.IntRange(min=2), default=5, help="Number of folds."),
)

calibration = console.section(
    "Calibration",
    click.option(
        "--calibrate",
        type=click.Choice(["none", "val", "crossfit"]),
        default="none",
        help="Calibrate the streams first, fitted on validation scores, or across grouped folds "
        "of the files themselves.",
    ),
    click.option(
        "--calibration",
        type=click.Choice(["temperature", "vector"]),
        default="temperature",
        help="One temperature a stream, or a factor and an offset for each class.",
    ),
)

learning = console.section(
    "Learned fusion",
    click.option(
        "--learn",
        type=click.Choice(["none", "class-weights", "stacking"]),
        default="none",
        help="Learn the fusion of the streams from labels, instead of --strategy.",
    ),
    click.option(
        "--learn-on",
        type=click.Choice(["crossfit", "val"]),
        default="crossfit",
        help="Learn on the other grouped folds of the files, or on validation scores.",
    ),
)


def input_words(options: FusionOptions, *, command: str) -> list[object]:
    """The words with which another command takes the same score files.

    What the project file says to both commands alike needs none.
    """
    values: dict[str, Any] = {}
    if options.splits is not None:
        splits = options.splits
        values["splits"] = splits if isinstance(splits, str) else ",".join(map(str, splits))
    elif options.split and not options.files:
        values["split"] = options.split
    values |= {
        "model": options.model,
        "name": options.name,
        "epochs": options.epochs,
        "groups": options.groups,
        "subset": options.subset if options.subset != "test" else None,
    }
    if not options.files:
        values["dataset"] = options.dataset
        values["runs"] = str(options.runs) if options.runs != Path("runs") else None
    words: list[object] = [*options.files]
    for name, value in values.items():
        if value is not None and not _is_in_project(name, name, command):
            words += [f"--{name}", value]
    return words


def fusion_words(options: FusionOptions, *, command: str) -> list[object]:
    """The words with which another command makes the same fusions of the same score files."""
    words = input_words(options, command=command)
    strategies = tuple(options.strategies)
    if strategies != COMPARED and not _is_in_project("strategies", "strategy", command):
        words += [word for name in strategies for word in ("--strategy", name)]
    if options.stream_weights and not _is_in_project("stream_weights", "weights", command):
        words += ["--weights", options.stream_weights]
    return words


def _is_in_project(parameter: str, key: str, command: str) -> bool:
    """Whether a value is the project file's, which says the same to another command."""
    ctx = click.get_current_context()
    if ctx.get_parameter_source(parameter) is not ParameterSource.DEFAULT_MAP:
        return False
    settings = read_project(ctx.meta[PROJECT])
    here, there = (settings | settings.get(name, {}) for name in (str(ctx.info_name), command))
    return key in there and here[key] == there[key]
