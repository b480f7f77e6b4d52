"""`twostream fuse` and `twostream scores show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fusion.strategies import STRATEGIES, VARIANCE_FORMS
from twostream.console import json_option, note, print_json
from twostream.plugins import PlugIn

SCORE_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("files", nargs=-1, type=SCORE_FILE)
@click.option(
    "--strategy",
    type=PlugIn(STRATEGIES),
    default="mean",
    show_default=True,
    help="How the streams are fused.",
)
@click.option(
    "--segments",
    type=PlugIn(STRATEGIES),
    default="mean",
    show_default=True,
    help="How the segments of each video are fused, before the streams.",
)
@click.option(
    "--weights", metavar="STREAM=W,...", help="For --strategy weighted, as spatial=2,motion=1."
)
@click.option("--segment-weights", metavar="W,...", help="For --segments weighted, as 1,2,1.")
@click.option(
    "--variance",
    type=click.Choice(VARIANCE_FORMS),
    help="Form of the variance strategy.  [default: normalised]",
)
@click.option(
    "--strategy-option",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of a strategy of your own; may be repeated.",
)
@click.option(
    "--combine",
    type=click.Choice(["logits", "probs"]),
    help="What is fused.  [default: what the files hold]",
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Run folders, searched when no FILES are given.",
)
@click.option("--dataset", help="Only runs of this data set.")
@click.option("--split", type=click.IntRange(min=1), help="Only runs of this split.")
@click.option(
    "--subset",
    type=click.Choice(["val", "test"]),
    default="test",
    show_default=True,
    help="The scores of which videos.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the fused scores to this score file.",
)
@json_option
def fuse(
    files: tuple[Path, ...],
    runs: Path,
    dataset: str | None,
    split: int | None,
    subset: str,
    combine: str | None,
    out: Path | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Fuse score files: segments first, then streams; show what each input and the fusion reach.

    FILES are joined by video name. Without FILES the scores of the one spatial and the one motion
    run are taken. A stream is named as in its file's header, or by its file when two are alike.
    """
    from fusion.fuse import fuse as fuse_tables
    from fusion.inputs import find_scores, read_inputs
    from fusion.result import fusion_result, result_lines
    from fusion.score_file import write_scores
    from fusion.steps import StepOptions, chosen_steps

    paths = files or find_scores(runs, dataset=dataset, split=split, subset=subset)
    tables = read_inputs(paths)
    segments, streams = chosen_steps(StepOptions(**choices), keys=list(tables))
    fusion = fuse_tables(tables, segments=segments, streams=streams, combine=combine)
    if out:
        write_scores(out, fusion.table)
        note(f"{out} written")
    result = fusion_result(fusion, files=dict(zip(tables, paths, strict=True)))
    if as_json:
        print_json(result)
    else:
        click.echo("\n".join(result_lines(result)))


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
