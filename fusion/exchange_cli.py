"""`twostream scores export` and `check`."""

from __future__ import annotations

from pathlib import Path

import click

from twostream.console import json_option, print_json

SCORE_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXPORT_FORMATS = ("csv", "top", "npz", "npy", "gluoncv")


@click.command()
@click.argument("file", type=SCORE_FILE)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(EXPORT_FORMATS),
    default="top",
    show_default=True,
    help="top: CSV of name, label, the most probable classes. csv: a column a class. npz, npy: "
    "arrays. gluoncv: a text line a view.",
)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many classes `top` lists.",
)
def export(file: Path, format_name: str, out: Path, top: int) -> None:
    """Write the score FILE for other tools. Pickles are never written."""
    from fusion.exports import EXPORTS
    from fusion.score_file import read_scores

    options = {"top": top} if format_name == "top" else {}
    EXPORTS[format_name](out, read_scores(file), **options)
    click.echo(f"{out} written")


@click.command()
@click.argument("files", nargs=-1, required=True, type=SCORE_FILE)
@json_option
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Verify score FILES, name what is odd in them, and say whether they join.

    Ends with 1 if a file is broken or several do not join.
    """
    from fusion.check import check_files, check_lines

    result = check_files(files)
    if as_json:
        print_json(result)
    else:
        click.echo("\n".join(check_lines(result)))
    joined = result["together"] is None or result["together"]["join"]
    if not joined or not all(file["sound"] for file in result["files"]):
        ctx.exit(1)
