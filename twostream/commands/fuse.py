"""`twostream fuse`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twostream.commands.console import (
    Command,
    json_option,
    note,
    print_json,
    section,
)
from twostream.commands.option_types import OUT_FILE
from twostream.commands.score_options import (
    calibration_options,
    hold_out_options,
    input_options,
    learning_options,
    strategy_options,
    taken,
)

if TYPE_CHECKING:
    from fusion.tables.score_file import ScoreTable

# Score files of more bytes than this are not held in memory: they are fused a few videos at a time.
LARGE_BYTES = 2**30


@click.command(
    cls=Command,
    common=(
        "--split", "--subset", "--strategy", "--weights", "--segments", "--combine", "--calibrate",
        "--out", "--json",
    ),
    example="twostream fuse --split 1 --strategy variance\n"
    "twostream fuse spatial.safetensors motion.safetensors --strategy weighted \\\n"
    "    --weights spatial=2,motion=1 --out fused.safetensors",
)  # fmt: skip
@input_options
@strategy_options
@calibration_options
@learning_options
@hold_out_options
@section(
    "Output",
    click.option(
        "--out",
        type=OUT_FILE,
        help="Write the fused scores to this score file.",
    ),
)
@json_option
def fuse(out: Path | None, as_json: bool, **choices: Any) -> None:
    """Fuse score files, segments first, then streams, and show the accuracy of each and of all.

    FILES (or run folders) are joined by video name. Without FILES, the scores of the one spatial
    and the one motion run are used. Streams are named as in the header of their file, or by file
    name when two are alike.
    """
    from fusion.combining.inputs import InputOptions, input_paths
    from fusion.evaluation.text_tables import result_lines

    paths = input_paths(taken(choices, InputOptions))
    whole = choices["epochs"] or {choices["calibrate"], choices["learn"]} != {"none"}
    large = sum(path.stat().st_size for path in paths) > LARGE_BYTES
    result = (_fused_from_disk if large and not whole else _fused_in_memory)(choices, out)
    if out:
        note(f"{out} written")
    print_json(result) if as_json else click.echo("\n".join(result_lines(result)))


def _fused_in_memory(choices: dict[str, Any], out: Path | None) -> dict[str, Any]:
    from fusion.combining.fuse import fuse as fuse_tables
    from fusion.combining.inputs import InputOptions, input_tables, read_inputs
    from fusion.combining.step_options import StepOptions, input_steps
    from fusion.evaluation.text_tables import fusion_result
    from fusion.fitting.hold_out import (
        HoldOutOptions,
        calibrated_tables,
        check_only_learning,
        learned,
    )
    from fusion.tables.score_file import write_scores

    inputs = read_inputs(taken(choices, InputOptions))
    steps = input_steps(taken(choices, StepOptions), inputs)
    tables = input_tables(inputs, steps.pop("epochs"))
    hold_out, calibrated = taken(choices, HoldOutOptions), None
    if hold_out.learn != "none":
        check_only_learning(steps, choices["combine"])
        fusion = learned(tables, inputs, hold_out)
    else:
        calibrated = calibrated_tables(tables, inputs, hold_out)
        chosen = calibrated.tables if calibrated else tables
        fusion = fuse_tables(chosen, **steps, combine=choices["combine"])
    if out:
        write_scores(out, fusion.table)
    files = {key: given.files for key, given in inputs.items()}
    return fusion_result(fusion, files=files, calibrated=calibrated)


def _fused_from_disk(choices: dict[str, Any], out: Path | None) -> dict[str, Any]:
    from fusion.combining.inputs import InputOptions, read_inputs
    from fusion.combining.step_options import StepOptions, input_steps
    from fusion.evaluation.sharded_fusion import fuse_in_shards
    from fusion.tables.large_files import MappedScores, map_scores

    mapped: dict[Path, MappedScores] = {}

    def head(path: Path) -> ScoreTable:
        return mapped.setdefault(path, map_scores(path)).head

    inputs = read_inputs(taken(choices, InputOptions), read=head)
    steps = input_steps(taken(choices, StepOptions), inputs)
    steps.pop("epochs")
    return fuse_in_shards(
        {key: mapped[next(iter(one.tables))] for key, one in inputs.items()},
        files={key: one.files for key, one in inputs.items()},
        steps=steps,
        combine=choices["combine"],
        out=out,
    )
