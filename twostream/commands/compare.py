"""`twostream compare`."""

from __future__ import annotations

from typing import Any

import click

from twostream.commands.console import Command, json_option, print_json, tell_next
from twostream.commands.score_options import (
    calibration_options,
    combine_option,
    hold_out_options,
    input_options,
    input_words,
    several_strategies_options,
    view_options,
)


@click.command(
    cls=Command,
    common=(
        "--split", "--subset", "--strategy", "--weights", "--alone", "--calibrate", "--groups",
        "--classes", "--json",
    ),
    example="twostream compare --split 1 --strategy mean --strategy variance\n"
    "twostream compare baseline.safetensors changed.safetensors --alone",
)  # fmt: skip
@input_options
@several_strategies_options
@click.option("--alone", is_flag=True, help="Compare FILES as they are, without fusions.")
@view_options
@combine_option
@calibration_options
@hold_out_options
@click.option("--classes", is_flag=True, help="Also show every class.")
@click.option("--seed", default=0, help="Seed of the bootstrap.")
@json_option
def compare(
    strategies: tuple[str, ...],
    stream_weights: str | None,
    alone: bool,
    classes: bool,
    seed: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare streams and their fusions, each pair by an exact test on the same videos.

    Compared are each of FILES alone and their fusion by each --strategy; with --calibrate, also by
    each strategy after calibration. Files of different splits or subsets are refused; different
    protocols are pointed out.
    """
    from fusion.combining.inputs import FusionOptions
    from fusion.evaluation.results import compare_lines
    from fusion.workflows import compare_files

    fusion_options = FusionOptions(**options)
    result = compare_files(
        fusion_options,
        strategies=strategies,
        stream_weights=stream_weights,
        alone=alone,
        classes=classes,
        seed=seed,
    )
    if as_json:
        print_json(result)
        return
    click.echo("\n".join(compare_lines(result)))
    tell_next("report", *input_words(fusion_options))
