"""`twostream tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twostream.commands.console import Command, json_option, print_json, tell
from twostream.commands.option_types import OUT_FILE
from twostream.commands.score_options import (
    combine_option,
    hold_out_options,
    input_options,
    view_options,
)


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
    "--out", type=OUT_FILE, help="Write the scores fused with these weights to this score file."
)
@click.option(
    "--cascade",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="Also find how many videos can do without flow, the first stream deciding where it is "
    "sure, if that may cost this many percentage points.",
)
@json_option
def tune(
    choose: str,
    cascade: float | None,
    curve: Path | None,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the best weights of the streams, and their accuracy on videos not used to choose them.

    For two streams all weights are searched, exactly; for more, a grid refined by exact searches
    along lines. FILES as for `fuse`.
    """
    from fusion.combining.inputs import FusionOptions
    from fusion.evaluation.results import tune_lines
    from fusion.workflows import tune_files

    result = tune_files(
        FusionOptions(**options), choose=choose, cascade=cascade, curve=curve, out=out
    )
    for path in filter(None, (out, curve)):
        tell(f"{path} written")
    print_json(result) if as_json else click.echo("\n".join(tune_lines(result)))
