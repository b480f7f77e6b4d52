"""`twostream report`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twostream.commands.compare import fusions_to_compare
from twostream.commands.console import Command
from twostream.commands.option_types import OUT_FILE
from twostream.commands.score_options import (
    calibration_options,
    combine_option,
    hold_out_options,
    input_options,
    several_strategies_options,
    taken,
    view_options,
)

if TYPE_CHECKING:
    from fusion.combining.inputs import Input
    from fusion.combining.video_scores import Votes
    from fusion.fitting.hold_out import HoldOutOptions
    from fusion.report.content import Content
    from fusion.tables.score_file import ScoreTable


@click.command(
    cls=Command,
    common=(
        "--split", "--subset", "--strategy", "--weights", "--shown", "--calibrate", "--groups",
        "--title", "--out",
    ),
    example="twostream report --split 1 --out report.html",
)  # fmt: skip
@input_options
@several_strategies_options
@click.option(
    "--shown",
    help="Name of the result that the report shows in detail.  [default: the first strategy, "
    "calibrated where possible]",
)
@view_options
@combine_option
@calibration_options
@hold_out_options
@click.option("--title", default="Two-stream report", show_default=True, help="Title of the page.")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap.")
@click.option(
    "--out",
    type=OUT_FILE,
    default=Path("report.html"),
    show_default=True,
    help="HTML file to write.",
)
def report(out: Path, title: str, **choices: Any) -> None:
    """Write everything about score files as one HTML page that needs no network and no scripts.

    FILES as for `fuse`. Where the groups of the videos are known (--groups, or by data set),
    streams are calibrated and weights chosen across grouped folds.
    """
    from fusion.combining.inputs import InputOptions, read_inputs
    from fusion.report.page import report_page
    from twostream_base.files import write_text

    inputs = read_inputs(taken(choices, InputOptions))
    content = _content(inputs, choices | {"alone": False})
    write_text(out, report_page(content, title=title))
    click.echo(f"{out} written")


def _content(inputs: dict[str, Input], choices: dict[str, Any]) -> Content:
    import numpy as np

    from fusion.combining.inputs import input_tables
    from fusion.combining.step_options import StepOptions, input_steps
    from fusion.combining.video_scores import cast_votes
    from fusion.fitting.hold_out import (
        HoldOutOptions,
        calibrated_tables,
        known_groups,
    )
    from fusion.report.content import make_content, run_logs

    steps = input_steps(taken(choices, StepOptions), inputs)
    tables = input_tables(inputs, steps["epochs"])
    views = {axis: steps[axis] for axis in ("crops", "segments")}
    votes = cast_votes(tables, **views, combine=choices["combine"])
    groups = known_groups(tables, taken(choices, HoldOutOptions))
    if groups and choices["calibrate"] == "none":
        choices = choices | {"calibrate": "crossfit"}
    hold_out = taken(choices, HoldOutOptions)
    return make_content(
        votes,
        tables,
        votes.scores | fusions_to_compare(votes, tables, inputs, choices),
        shown=choices["shown"],
        segments=steps["segments"],
        groups=groups,
        rng=np.random.default_rng(choices["seed"]),
        tuned=_tuned(votes, tables, hold_out) if groups else None,
        calibrated=calibrated_tables(tables, inputs, hold_out),
        logs=run_logs(inputs),
        files={key: one.files for key, one in inputs.items()},
        command=shlex.join(["twostream", *sys.argv[1:]]),
    )


def _tuned(
    votes: Votes, tables: dict[str, ScoreTable], hold_out: HoldOutOptions
) -> dict[str, Any] | None:
    from fusion.fitting.hold_out import table_folds
    from fusion.fitting.tune import tune_in_folds

    return tune_in_folds(votes, table_folds(tables, hold_out)) if len(tables) > 1 else None
