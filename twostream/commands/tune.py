"""`twostream tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twostream.commands.console import Command, json_option, note, print_json
from twostream.commands.option_types import OUT_FILE
from twostream.commands.score_options import (
    combine_option,
    hold_out_options,
    input_options,
    taken,
    view_options,
)

if TYPE_CHECKING:
    import numpy as np

    from fusion.combining.inputs import Input
    from fusion.combining.video_scores import Votes

    Tuned = tuple[Votes, dict[str, Any], np.ndarray | None]


@click.command(
    cls=Command,
    common=(
        "--split", "--subset", "--choose", "--val", "--groups", "--folds", "--curve", "--cascade",
        "--out", "--json",
    ),
    example="twostream tune --split 1\n"
    "twostream tune spatial.safetensors motion.safetensors --choose crossfit --curve curve.csv",
)  # fmt: skip
@input_options
@view_options
@combine_option
@click.option(
    "--choose",
    type=click.Choice(["val", "crossfit", "test"]),
    default="val",
    show_default=True,
    help="Choose the weights on validation scores, across grouped folds of the files themselves, "
    "or on the very videos that are tested.",
)
@hold_out_options
@click.option(
    "--curve",
    type=OUT_FILE,
    help="Write the number of correct videos at every weight (two streams) to this CSV file.",
)
@click.option(
    "--out",
    type=OUT_FILE,
    help="Write the scores fused with these weights to this score file.",
)
@click.option(
    "--cascade",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="Also find how many videos can do without flow, the first stream deciding where it is "
    "sure, if that may cost this many percentage points.",
)
@json_option
def tune(curve: Path | None, out: Path | None, as_json: bool, **choices: Any) -> None:
    """Find the best weights of the streams, and their accuracy on videos not used to choose them.

    For two streams all weights are searched, exactly; for more, a grid refined by exact searches
    along lines. FILES as for `fuse`.
    """
    from fusion.combining.inputs import InputOptions, read_inputs
    from fusion.evaluation.text_tables import tune_lines, write_curve
    from fusion.fitting.tune import fused_by
    from fusion.tables.score_file import write_scores

    inputs = read_inputs(taken(choices, InputOptions))
    votes, result, folds = _tuned(inputs, choices)
    if out:
        write_scores(out, fused_by(votes, result, folds))
        note(f"{out} written")
    if curve:
        write_curve(curve, votes)
        note(f"{curve} written")
    print_json(result) if as_json else click.echo("\n".join(tune_lines(result)))


def _tuned(inputs: dict[str, Input], choices: dict[str, Any]) -> Tuned:
    from fusion.combining.inputs import input_tables
    from fusion.combining.step_options import StepOptions, input_steps
    from fusion.combining.video_scores import cast_votes
    from fusion.fitting.cascade import cascade_in_folds, cascade_on
    from fusion.fitting.hold_out import HoldOutOptions, table_folds, val_tables
    from fusion.fitting.tune import tune_in_folds, tune_on, tune_on_test

    steps = input_steps(taken(choices, StepOptions), inputs)
    views = {axis: steps[axis] for axis in ("crops", "segments")}
    tables = input_tables(inputs, steps["epochs"])
    votes = cast_votes(tables, **views, combine=choices["combine"])
    hold_out = taken(choices, HoldOutOptions)
    if choices["choose"] == "val":
        val = cast_votes(val_tables(inputs, hold_out.val), **views, combine=choices["combine"])
        result = tune_on(votes, val)
        if choices["cascade"] is not None:
            result["cascade"] = cascade_on(votes, val, tolerance=choices["cascade"] / 100)
        return votes, result, None
    if choices["choose"] == "crossfit":
        folds = table_folds(tables, hold_out)
        result = tune_in_folds(votes, folds)
        if choices["cascade"] is not None:
            result["cascade"] = cascade_in_folds(votes, folds, tolerance=choices["cascade"] / 100)
        return votes, result, folds
    if choices["cascade"] is not None:
        raise click.UsageError("--cascade is chosen on val or in folds, not on test")
    return votes, tune_on_test(votes), None
