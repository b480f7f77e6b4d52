"""`twostream scores export` and `check`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusion.exchange.formats import SCORE_FORMATS
from twostream.commands.console import Command, json_option, note, print_json
from twostream.commands.options import FOLDER
from twostream.commands.plugin_type import PlugIn
from twostream.data.splits import DATASETS
from twostream_base.plugins import any_of, load

if TYPE_CHECKING:
    from fusion.exchange.formats.foreign_scores import ForeignScores
    from fusion.exchange.importing import VideoList
    from twostream.data.records import Split


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
    from fusion.exchange.exporting import EXPORTS
    from fusion.tables.score_file import read_scores

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
    from fusion.evaluation.inspect_file import check_files, check_lines

    result = check_files(files)
    if as_json:
        print_json(result)
    else:
        click.echo("\n".join(check_lines(result)))
    joined = result["together"] is None or result["together"]["join"]
    if not joined or not all(file["sound"] for file in result["files"]):
        ctx.exit(1)


# `twostream scores import`.
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    "import",
    cls=Command,
    example="twostream scores import rgb.npz --format tsn-npz --stream spatial \\\n"
    "    --order test_split1.txt --out rgb.safetensors\n"
    "twostream scores import rgb.pickle --format two-stream-pickle --stream spatial \\\n"
    "    --dataset ucf101 --annotations ucfTrainTestlist --summed-over 19 --out rgb.safetensors",
)
@click.argument("file", type=FILE)
@click.option(
    "--format",
    "format_name",
    required=True,
    type=PlugIn(SCORE_FORMATS),
    help=f"Format of FILE: {any_of(SCORE_FORMATS)}.",
)
@click.option("--stream", required=True, help="Name of the stream: spatial, motion, ...")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Score file to write.",
)
@click.option(
    "--dataset",
    type=PlugIn(DATASETS),
    help="Data set whose lists give names, order, class names, and labels where FILE has none: "
    f"{any_of(DATASETS)}.",
)
@click.option("--annotations", type=FOLDER, help="Folder of these lists.")
@click.option("--split", type=int, default=1, show_default=True, help="Split of these lists.")
@click.option(
    "--subset",
    type=click.Choice(["train", "test"]),
    default="test",
    show_default=True,
    help="List of that split.",
)
@click.option(
    "--order",
    type=FILE,
    help="For a FILE without video names: list file whose first column names the rows in order; a "
    "third column is checked against the labels.",
)
@click.option("--sort-order", is_flag=True, help="Sort the names of --order bytewise first.")
@click.option(
    "--order-names",
    type=FILE,
    help="For an --order of line numbers such as class/17: the list of names they refer to.",
)
@click.option(
    "--classes",
    type=FILE,
    help="File with the class names in the order of FILE's columns, one a line.",
)
@click.option(
    "--summed-over", type=click.IntRange(1), help="The scores are sums of this many logits."
)
def import_scores(file: Path, out: Path, format_name: str, **options: Any) -> None:
    """Import the score FILE of another tool.

    With --dataset and --annotations the videos must be those of that list; names, order, labels
    and the order of classes are taken from it. Without, FILE itself must name the videos.
    """
    from fusion.exchange.importing import import_scores as make_table
    from fusion.tables.score_file import write_scores

    foreign = _with_names(load(format_name, SCORE_FORMATS)(file), options)
    split = _listed(options)
    facts = ("stream", "dataset", "split", "subset") if split else ("stream",)
    table = make_table(
        foreign,
        listed=_video_list(split, options["subset"]) if split else None,
        about={key: options[key] for key in facts},
        summed_over=options["summed_over"],
    )
    write_scores(out, table)
    videos, segments, crops, classes = table.scores.shape
    click.echo(f"{out}: {videos:,} videos, {segments} segments, {crops} crops, {classes} classes")
    if "class_order" in table.about:
        note("its classes stood in another order; they were brought into that of the list")


def _with_names(foreign: ForeignScores, options: dict[str, Any]) -> ForeignScores:
    """Names for the rows of a file without, and class names, from the lists that are given."""
    from fusion.exchange.importing import name_rows, read_class_names, read_order

    if options["order"]:
        numbered = options["order_names"]
        order = read_order(options["order"], sort=options["sort_order"], numbered=numbered)
        foreign = name_rows(foreign, order)
    if options["classes"]:
        foreign = replace(foreign, class_names=read_class_names(options["classes"]))
    return foreign


def _video_list(split: Split, subset: str) -> VideoList:
    from fusion.exchange.importing import VideoList

    records = split.subset(subset)
    return VideoList(
        names=[record.name for record in records],
        labels=[record.label for record in records],
        class_names=split.class_names,
    )


def _listed(options: dict[str, Any]) -> Split | None:
    from twostream.data.splits import read_split

    if not (options["dataset"] and options["annotations"]):
        return None
    reader = load(options["dataset"], DATASETS)
    return read_split(reader, options["annotations"], split=options["split"])
