"""`twostream scores import`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusion.formats import SCORE_FORMATS
from twostream.commands.options import FOLDER
from twostream.console import note
from twostream.data.splits import DATASETS
from twostream.plugins import PlugIn, load

if TYPE_CHECKING:
    from fusion.formats.foreign_scores import ForeignScores
    from fusion.imports import VideoList
    from twostream.data.records import Split

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=FILE)
@click.option(
    "--format", "format_name", required=True, type=PlugIn(SCORE_FORMATS), help="What wrote FILE."
)
@click.option("--stream", required=True, help="Name of the stream: spatial, motion, ...")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--dataset",
    type=PlugIn(DATASETS),
    help="Whose lists give the class names, and the labels where FILE has none ...",
)
@click.option("--annotations", type=FOLDER, help="... in which folder ...")
@click.option("--split", type=int, default=1, show_default=True, help="... of which split ...")
@click.option(
    "--subset",
    type=click.Choice(["train", "test"]),
    default="test",
    show_default=True,
    help="... and which of its lists.",
)
@click.option(
    "--order",
    type=FILE,
    help="For a FILE without names: list file, the first column names row after row; a "
    "third column is checked against the labels.",
)
@click.option("--sort-order", is_flag=True, help="Sort the names of --order by their bytes first.")
@click.option(
    "--order-names",
    type=FILE,
    help="For an --order of numbers, as class/17: the list of names whose lines they count.",
)
@click.option(
    "--classes",
    type=FILE,
    help="The class names in the order of FILE's columns, a line each.",
)
@click.option(
    "--summed-over", type=click.IntRange(1), help="The scores are sums of this many logits."
)
def import_scores(file: Path, out: Path, format_name: str, **options: Any) -> None:
    """Turn the score FILE of another tool into one of ours.

    \b
    twostream scores import spatial.pickle --format two-stream-pickle --stream spatial \\
        --dataset ucf101 --annotations ucfTrainTestlist --summed-over 19 --out spatial.safetensors
    twostream scores import rgb.npz --format tsn-npz --stream spatial --order test_split1.txt \\
        --out rgb.safetensors

    With --dataset and --annotations the videos must be those of its list; they take its spelling,
    order, labels and order of classes. Without, FILE alone must say the names.
    """
    from fusion.imports import import_scores as make_table
    from fusion.score_file import write_scores

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
    from fusion.class_order import read_class_names
    from fusion.order_list import name_rows, read_order

    if options["order"]:
        numbered = options["order_names"]
        order = read_order(options["order"], sort=options["sort_order"], numbered=numbered)
        foreign = name_rows(foreign, order)
    if options["classes"]:
        foreign = replace(foreign, class_names=read_class_names(options["classes"]))
    return foreign


def _video_list(split: Split, subset: str) -> VideoList:
    from fusion.imports import VideoList

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
