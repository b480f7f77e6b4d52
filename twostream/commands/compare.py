"""`twostream compare`."""

from __future__ import annotations

from typing import Any

import click

from twostream.commands import console, score_options


@click.command(
    cls=console.Command,
    common=(
        "--split", "--splits", "--subset", "--strategy", "--weights", "--alone", "--forms",
        "--calibrate", "--groups", "--classes", "--json",
    ),
    example="twostream compare --split 1 --strategy mean --strategy variance\n"
    "twostream compare baseline.safetensors changed.safetensors --alone\n"
    "twostream compare --forms --split 1 --strategy mean",
)  # fmt: skip
@score_options.inputs
@score_options.several_strategies
@click.option("--alone", is_flag=True, help="Compare FILES as they are, without fusions.")
@score_options.forms
@score_options.views
@score_options.combine
@score_options.calibration
@score_options.hold_out
@console.trust_option
@click.option("--classes", is_flag=True, help="Also show every class.")
@click.option("--seed", default=0, help="Seed of the intervals of differences.")
@console.json_option
def compare(alone: bool, forms: bool, classes: bool, as_json: bool, **options: Any) -> None:
    """Compare streams and their fusions, each pair by an exact test on the same videos.

    Compared are each of FILES alone and their fusion by each --strategy; with --calibrate, also by
    each strategy after calibration. FILES and --splits as for `fuse`: over several splits, the
    pairs are compared within the splits, all splits in one test. Different protocols are pointed
    out.
    """
    from fusion.combining.inputs import FusionOptions
    from fusion.evaluation.forms import forms_lines
    from fusion.evaluation.results import compare_lines
    from fusion.workflows import compare_files

    fusion_options = FusionOptions(**options)
    typed = score_options.fusion_words(fusion_options, command="report")
    if forms:
        if alone or classes or fusion_options.calibrate != "none":
            raise click.UsageError("--forms goes without --alone, --classes and --calibrate.")
        result = score_options.weigh(fusion_options)
        if as_json:
            console.print_json(result)
            return
        console.show(*forms_lines(result))
        console.tell_next("report", "--forms", *typed)
        return
    with console.LateProgress() as progress:
        result = compare_files(fusion_options, alone=alone, classes=classes, progress=progress)
    if as_json:
        console.print_json(result)
        return
    console.show(*compare_lines(result))
    console.tell_next("report", *typed)
