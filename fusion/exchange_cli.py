"""`twostream scores export` and `check`."""

from __future__ import annotations

from pathlib import Path

import click

from twostream.console import Command, json_option, print_json

SCORE_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXPORT_FORMATS = ("csv", "top", "npz", "npy", "gluoncv")


@click.command(
    cls=Command, example="twostream scores export fused.safetensors --format csv --out fused.csv"
)
@click.argument("file", type=SCORE_FILE)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(EXPORT_FORMATS),
    default="top",
    show_default=True,
    help="top: CSV of name, label and the most probable classes. csv: one column a class. npz, "
    "npy: arrays. gluoncv: one text line a view.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of classes that --format top lists.",
)
def export(file: Path, format_name: str, out: Path, top: int) -> None:
    """Export the score FILE for other tools. Pickles are never written."""
    from fusion.exports import EXPORTS
    from fusion.score_file import read_scores

    options = {"top": top} if format_name == "top" else {}
    EXPORTS[format_name](out, read_scores(file), **options)
    click.echo(f"{out} written")


@click.command(cls=Command, example="twostream scores check spatial.safetensors motion.safetensors")
@click.argument("files", nargs=-1, required=True, type=SCORE_FILE)
@json_option
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Verify score FILES, point out what is unusual in them, and say whether they join.

    Exit code 1: a file is broken, or the files do not join.
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
