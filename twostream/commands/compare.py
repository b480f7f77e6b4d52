"""`twostream compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from twostream.commands.console import Command, json_option, print_json
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
    import numpy as np

    from fusion.combining.inputs import Input
    from fusion.combining.step import Step
    from fusion.combining.video_scores import Votes
    from fusion.tables.score_file import ScoreTable


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
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap.")
@json_option
def compare(as_json: bool, seed: int, classes: bool, **choices: Any) -> None:
    """Compare streams and their fusions, each pair by an exact test on the same videos.

    Compared are each of FILES alone and their fusion by each --strategy; with --calibrate, also by
    each strategy after calibration. Files of different splits or subsets are refused; different
    protocols are pointed out.
    """
    from fusion.combining.inputs import InputOptions, read_inputs
    from fusion.evaluation.text_tables import compare_lines

    inputs = read_inputs(taken(choices, InputOptions))
    result = _compared(inputs, choices, seed=seed, classes=classes)
    print_json(result) if as_json else click.echo("\n".join(compare_lines(result)))


def _compared(
    inputs: dict[str, Input], choices: dict[str, Any], *, seed: int, classes: bool
) -> dict[str, Any]:
    import numpy as np

    from fusion.combining.inputs import input_tables
    from fusion.combining.step_options import StepOptions, input_steps
    from fusion.combining.video_scores import cast_votes
    from fusion.evaluation.significance import compare
    from fusion.fitting.hold_out import HoldOutOptions, known_groups

    steps = input_steps(taken(choices, StepOptions), inputs)
    views = {axis: steps[axis] for axis in ("crops", "segments")}
    tables = input_tables(inputs, steps["epochs"])
    votes = cast_votes(tables, **views, combine=choices["combine"])
    results = votes.scores | fusions_to_compare(votes, tables, inputs, choices)
    groups = known_groups(tables, taken(choices, HoldOutOptions))
    compared = compare(results, votes.labels, rng=np.random.default_rng(seed), groups=groups)
    shown = results if classes else {}
    return compared | _details(votes, tables, views["segments"], shown)


def fusions_to_compare(
    votes: Votes, tables: dict[str, ScoreTable], inputs: dict[str, Input], choices: dict[str, Any]
) -> dict[str, np.ndarray]:
    """The fusions to compare, by name: as they are, and of calibrated logits."""
    from fusion.combining.fuse import fuse_streams
    from fusion.combining.step_options import StepOptions, input_steps
    from fusion.combining.video_scores import cast_votes
    from fusion.fitting.hold_out import HoldOutOptions, calibrated_tables

    if choices["alone"] or len(inputs) == 1:
        return {}
    all_votes = {"": votes}
    if calibrated := calibrated_tables(tables, inputs, taken(choices, HoldOutOptions)):
        all_votes[", calibrated"] = cast_votes(calibrated.tables)
    if doubled := set(votes.scores) & set(choices["strategies"]):
        raise click.UsageError(f"{', '.join(doubled)} is an input and a strategy; rename the file")
    fused = {}
    for name in choices["strategies"]:
        weights = choices["stream_weights"] if name == "weighted" else None
        step = input_steps(StepOptions(strategy=name, weights=weights), inputs)["streams"]
        for suffix, given in all_votes.items():
            fused[name + suffix] = fuse_streams(given, step)[0].scores
    return fused


def _details(
    votes: Votes, tables: dict[str, ScoreTable], segments: Step, shown: dict[str, np.ndarray]
) -> dict[str, Any]:
    from fusion.evaluation.complementarity import (
        class_accuracy,
        complementarity,
        segment_accuracy,
    )

    several = {key: table for key, table in tables.items() if table.scores.shape[1] > 1}
    return {
        "complementarity": complementarity(votes),
        "segments": {
            key: segment_accuracy(table, segments=segments) for key, table in several.items()
        },
        "classes": class_accuracy(shown, votes.labels, votes.class_names) if shown else [],
        "warnings": votes.warnings,
    }
