"""`twostream fuse` and `twostream scores show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fusion.cli_options import (
    SCORE_FILE,
    calibration_options,
    hold_out_options,
    input_options,
    strategy_options,
    taken,
)
from twostream.console import json_option, note, print_json


@click.command()
@input_options
@strategy_options
@calibration_options
@hold_out_options
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the fused scores to this score file.",
)
@json_option
def fuse(out: Path | None, as_json: bool, combine: str | None, **choices: Any) -> None:
    """Fuse score files: segments first, then streams; show what each input and the fusion reach.

    FILES (or run folders) are joined by video name. Without FILES the scores of the one spatial and
    the one motion run are taken. A stream is named as in its file's header, or by its file when two
    are alike.
    """
    from fusion.fuse import fuse as fuse_tables
    from fusion.hold_out import HoldOutOptions, calibrated_tables
    from fusion.inputs import InputOptions, input_tables, read_inputs
    from fusion.options import StepOptions, input_steps
    from fusion.result import fusion_result, result_lines
    from fusion.score_file import write_scores

    inputs = read_inputs(taken(choices, InputOptions))
    steps = input_steps(taken(choices, StepOptions), inputs)
    tables = input_tables(inputs, steps.pop("epochs"))
    calibrated = calibrated_tables(tables, inputs, taken(choices, HoldOutOptions))
    fusion = fuse_tables(calibrated.tables if calibrated else tables, **steps, combine=combine)
    if out:
        write_scores(out, fusion.table)
        note(f"{out} written")
    files = {key: given.files for key, given in inputs.items()}
    result = fusion_result(fusion, files=files, calibrated=calibrated)
    print_json(result) if as_json else click.echo("\n".join(result_lines(result)))


@click.command()
@click.argument("file", type=SCORE_FILE)
@click.option(
    "--first",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="How many videos to list.",
)
@json_option
def show(file: Path, first: int, as_json: bool) -> None:
    """Show what a score file holds: header, accuracy, the first videos with their top classes."""
    from fusion.score_file import read_scores
    from fusion.show import content_lines, contents

    shown = contents(read_scores(file), first=first)
    if as_json:
        print_json(shown)
    else:
        click.echo("\n".join(content_lines(shown)))
