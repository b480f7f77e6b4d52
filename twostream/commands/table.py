"""`twostream table`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fusion.combining.strategies import STRATEGIES
from twostream.commands import console, score_options
from twostream.commands.option_types import OUT_FILE, PlugIn, any_of
from twostream_base.errors import InputError

# Ending of a file -> format.
SUFFIXES = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json"}


@click.command(
    cls=console.Command,
    common=(
        "--splits", "--model", "--name", "--strategy", "--weights", "--tune", "--calibrate",
        "--groups", "--format", "--decimals", "--out",
    ),
    example="twostream table --model resnet18,resnet101 --strategy mean --strategy variance\n"
    "twostream table 'rgb=rgb-{split}.safetensors' 'flow=flow-{split}.safetensors' \\\n"
    "    --weights rgb=1,flow=1.5 --calibrate crossfit --out table.tex",
)  # fmt: skip
@score_options.inputs_of_splits
@console.section(
    "Strategies",
    click.option(
        "--strategy",
        "strategies",
        type=PlugIn(STRATEGIES),
        multiple=True,
        default=("mean",),
        help=f"A fusion of the streams; repeatable: {any_of(STRATEGIES)}.",
    ),
    click.option(
        "--weights",
        "weightings",
        multiple=True,
        metavar="STREAM=W,...",
        help="A fusion with these weights, such as spatial=2,motion=1; repeatable.",
    ),
    click.option(
        "--tune",
        "tuned",
        type=click.Choice(["none", "val", "crossfit"]),
        default="none",
        help="Also a fusion whose weights are found on validation scores, or in grouped folds.",
    ),
)
@score_options.views
@score_options.combine
@score_options.calibration
@score_options.hold_out
@console.trust_option
@console.section(
    "Output",
    click.option(
        "--format",
        "format_name",
        type=click.Choice(list(SUFFIXES.values())),
        help="Format that is printed, or of an --out whose ending tells none.  [default: markdown]",
    ),
    click.option(
        "--decimals", type=click.IntRange(0, 6), default=2, help="Decimal places of percents."
    ),
    click.option(
        "--out",
        "outs",
        type=OUT_FILE,
        multiple=True,
        help="Write the table to this file, in the format of its ending (.md, .tex, .csv, .json); "
        "repeatable.",
    ),
)
def table(
    strategies: tuple[str, ...],
    weightings: tuple[str, ...],
    tuned: str,
    format_name: str | None,
    decimals: int,
    outs: tuple[Path, ...],
    **options: Any,
) -> None:
    """Make the table of a paper: inputs and fusions, over splits, networks and seeds.

    A row for each stream and each fusion, a column for each split, with k of N and the mean. Runs
    whose names differ only in a seed, as `--name seed1`, are repeats: mean and standard deviation.
    The best result is bold, with those that do not differ significantly from it.

    Without FILES, all runs are searched. FILES as for `fuse`; {seed} may stand for a number too,
    and SYSTEM/STREAM=FILE puts streams together that are fused.
    """
    import json

    from fusion.combining.inputs import FusionOptions
    from fusion.paper_table import table_files
    from fusion.reporting.table_formats import TABLE_FORMATS
    from twostream_base.files import write_text

    formats = {out: SUFFIXES.get(out.suffix.lower(), format_name) for out in outs}
    if unknown := [out for out, of_out in formats.items() if of_out is None]:
        raise InputError(
            f"--out {unknown[0]}: its ending tells no format; allowed: {', '.join(SUFFIXES)}, or "
            "give --format"
        )
    with console.LateProgress() as progress:
        result = table_files(
            FusionOptions(**options),
            strategies=strategies,
            weightings=weightings,
            tuned=tuned,
            progress=progress,
        )
    for out, of_out in formats.items():
        if of_out == "json":
            text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        else:
            text = TABLE_FORMATS[str(of_out)](result, decimals=decimals)
        write_text(out, text)
        console.tell(f"{out} written")
    if format_name == "json" and not outs:
        console.print_json(result)
    elif not outs:
        text = TABLE_FORMATS[format_name or "markdown"](result, decimals=decimals)
        console.show(*text.splitlines())
