"""`twostream tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twostream.commands import console, score_options
from twostream.commands.option_types import OUT_FILE


@click.command(
    cls=console.Command,
    common=(
        "--split", "--splits", "--subset", "--choose", "--val", "--groups", "--folds", "--curve",
        "--cascade", "--out", "--json",
    ),
    example="twostream tune --split 1\n"
    "twostream tune spatial.safetensors motion.safetensors --choose crossfit --curve curve.csv",
)  # fmt: skip
@score_options.inputs
@score_options.views
@score_options.combine
@click.option(
    "--choose",
    type=click.Choice(["val", "crossfit", "test"]),
    default="val",
    help="Choose the weights on validation scores, across grouped folds of the files themselves, "
    "or on the very videos that are tested.",
)
@score_options.hold_out
@console.trust_option
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
@console.json_option
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
    along lines. FILES and --splits as for `fuse`: each split has weights of its own.
    """
    from fusion.combining.inputs import FusionOptions
    from fusion.evaluation.results import tune_lines
    from fusion.workflows import tune_files

    with console.LateProgress() as progress:
        result = tune_files(
            FusionOptions(**options),
            choose=choose,
            cascade=cascade,
            curve=curve,
            out=out,
            progress=progress,
        )
    for path in filter(None, (out, curve)):
        console.tell(f"{path} written")
    if as_json:
        console.print_json(result)
        return
    console.show(*tune_lines(result))
