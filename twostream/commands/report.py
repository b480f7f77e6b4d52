"""`twostream report`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from twostream.commands import console, score_options
from twostream.commands.option_types import OUT_FILE, OUT_FOLDER


@click.command(
    cls=console.Command,
    common=(
        "--split", "--splits", "--subset", "--strategy", "--weights", "--shown", "--calibrate",
        "--groups", "--forms", "--title", "--figures", "--out",
    ),
    example="twostream report --split 1 --out report.html\n"
    "twostream report --splits all --model resnet101",
)  # fmt: skip
@score_options.inputs
@score_options.several_strategies
@click.option(
    "--shown",
    help="Name of the result that the report shows in detail.  [default: the best fusion]",
)
@score_options.forms
@score_options.views
@score_options.combine
@score_options.calibration
@score_options.hold_out
@click.option(
    "--store",
    type=OUT_FOLDER,
    help="Store whose frames and flow are shown for videos won and lost, if it is there.",
)
@console.trust_option
@click.option("--title", default="Two-stream report", help="Title of the page.")
@click.option("--seed", default=0, help="Seed of the intervals of differences.")
@click.option("--out", type=OUT_FILE, default=Path("report.html"), help="HTML file to write.")
@click.option(
    "--figures",
    "figure_folder",
    type=OUT_FOLDER,
    help="Also write each figure to this folder, as SVG.",
)
def report(
    shown: str | None,
    title: str,
    out: Path,
    figure_folder: Path | None,
    forms: bool,
    store: Path | None,
    **options: Any,
) -> None:
    """Write everything about score files as one HTML page that needs no network and no scripts.

    FILES and --splits as for `fuse`, {seed} in FILES as for `table`: over several splits the page
    begins with an overview of all networks and seeds, and shows the best network in each split.

    Where the groups of the videos are known (by FILES, or --groups),
    streams are calibrated and weights chosen across grouped folds.
    """
    import platform
    from dataclasses import replace
    from datetime import date
    from functools import partial

    import numpy as np

    from fusion.combining.inputs import FusionOptions, find_inputs
    from fusion.reporting.page import figures
    from fusion.workflows import report_files
    from twostream_base.files import write_text
    from twostream_base.versions import tool_version

    pictures = None
    if store and store.is_dir():
        pictures = partial(stored_pictures, store)
    elif store:
        console.tell(f"no pictures of videos: the store {store} is not there")
    fusion_options = FusionOptions(**options)
    weighed = score_options.weigh(fusion_options) if forms else None
    if weighed and fusion_options.files:  # the others are not fused
        late = next(parts for parts in weighed["parts"].values() if len(parts) > 1)
        sources = zip(weighed["files"], find_inputs(fusion_options), strict=True)
        files = [source for name, source in sources if name in late]
        fusion_options = replace(fusion_options, files=files)
    with console.LateProgress() as progress:
        page = report_files(
            fusion_options,
            shown=shown,
            title=title,
            command=shlex.join(["twostream", *sys.argv[1:]]),
            facts={
                "date": date.today().isoformat(),
                "twostream": tool_version(),
                "Python": platform.python_version(),
                "numpy": np.__version__,
            },
            pictures=pictures,
            forms=weighed,
            progress=progress,
        )
    write_text(out, page)
    console.show(f"{out} written")
    if figure_folder:
        drawings = figures(page)
        for name, drawing in drawings.items():
            write_text(figure_folder / f"{name}.svg", drawing)
        console.show(f"{len(drawings)} figures written to {figure_folder}")


def stored_pictures(store: Path, name: str) -> tuple[bytes, bytes | None] | None:
    """A frame and its flow of a video in the store, as JPEG files; None where they cannot be read.

    `check-flow` tells what is wrong in a store: the report does without.
    """
    from contextlib import suppress

    from flow_extract.display.show import small_pictures
    from flow_extract.store.reader import entry_path
    from twostream_base.errors import InputError

    with suppress(InputError):
        path = entry_path(store, name)
        return small_pictures(path) if path.is_file() else None
    return None
