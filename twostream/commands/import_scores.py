"""`twostream scores import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusion.formats import SCORE_FORMATS
from twostream.commands.options import FOLDER
from twostream.data.splits import DATASETS
from twostream.plugins import PlugIn, load

if TYPE_CHECKING:
    from fusion.score_file import ScoreTable
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
    help="For labels without names: list file, the first column names row after row; a "
    "third column is checked against the labels.",
)
@click.option("--sort-order", is_flag=True, help="Sort the names of --order by their bytes first.")
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
    """
    from fusion.score_file import write_scores

    foreign = load(format_name, SCORE_FORMATS)(file)
    table = _named(foreign, options) if foreign.names is not None else _ordered(foreign, options)
    write_scores(out, table)
    videos, segments, crops, classes = table.scores.shape
    click.echo(f"{out}: {videos:,} videos, {segments} segments, {crops} crops, {classes} classes")


def _named(foreign: Any, options: dict[str, Any]) -> ScoreTable:
    """A file with names and no labels: a data set's list has them."""
    from fusion.imports import import_scores

    split = _listed(options)
    if split is None:
        raise click.UsageError(
            "this file has names but no labels: give --dataset and --annotations"
        )
    records = split.subset(options["subset"])
    return import_scores(
        foreign,
        names=[record.name for record in records],
        labels=[record.label for record in records],
        class_names=split.class_names,
        about={key: options[key] for key in ("stream", "dataset", "split", "subset")},
        summed_over=options["summed_over"],
    )


def _ordered(foreign: Any, options: dict[str, Any]) -> ScoreTable:
    """A file with labels and no names: a list in the same order has them."""
    from fusion.imports import import_ordered, read_order

    if not options["order"]:
        raise click.UsageError("this file has no names: give --order, the list in its order")
    split = _listed(options)
    facts = ("stream", "dataset", "split", "subset") if split else ("stream",)
    return import_ordered(
        foreign,
        order=read_order(options["order"], sort=options["sort_order"]),
        about={key: options[key] for key in facts},
        class_names=split.class_names if split else (),
        summed_over=options["summed_over"],
    )


def _listed(options: dict[str, Any]) -> Split | None:
    from twostream.data.splits import read_split

    if not (options["dataset"] and options["annotations"]):
        return None
    reader = load(options["dataset"], DATASETS)
    return read_split(reader, options["annotations"], split=options["split"])
