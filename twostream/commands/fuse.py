"""`twostream fuse`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twostream.commands import console, score_options
from twostream.commands.option_types import OUT_FILE


@click.command(
    cls=console.Command,
    common=(
        "--split", "--splits", "--subset", "--strategy", "--weights", "--segments", "--combine",
        "--calibrate", "--out", "--json",
    ),
    example="twostream fuse --split 1 --strategy variance\n"
    "twostream fuse --splits all\n"
    "twostream fuse 'rgb=rgb-{split}.safetensors' 'flow=flow-{split}.safetensors' --splits 1,2\n"
    "twostream fuse spatial.safetensors motion.safetensors --strategy weighted \\\n"
    "    --weights spatial=2,motion=1 --out fused.safetensors",
)  # fmt: skip
@score_options.inputs
@score_options.strategies
@score_options.calibration
@score_options.learning
@score_options.hold_out
@console.trust_option
@console.section(
    "Output",
    click.option("--out", type=OUT_FILE, help="Write the fused scores to this score file."),
)
@console.json_option
def fuse(out: Path | None, as_json: bool, **options: Any) -> None:
    """Fuse score files, segments first, then streams, and show the accuracy of each and of all.

    FILES (or run folders) are joined by video name. Without FILES, the scores of the one spatial
    and the one motion run are used. Streams are named as in the header of their file, or by file
    name when two are alike; STREAM=FILE names them otherwise.

    With --splits, or FILES with {split} in place of a number, each split is fused by itself, and
    the mean over the splits is shown.
    """
    from fusion.combining.inputs import FusionOptions
    from fusion.evaluation.results import fusion_lines
    from fusion.workflows import fuse_files

    fusion_options = FusionOptions(**options)
    with console.LateProgress() as progress:
        result = fuse_files(fusion_options, out=out, progress=progress)
    if out:
        console.tell(f"{out} written")
    if as_json:
        console.print_json(result)
        return
    console.show(*fusion_lines(result))
    if len(result["inputs"]) > 1:
        words = score_options.input_words(fusion_options, command="compare")
        console.tell_next("compare", *words)
