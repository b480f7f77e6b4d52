"""`twostream scores`: show, check, import and export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from fusion.exchange.formats import SCORE_FORMATS
from twostream.commands import console
from twostream.commands.option_types import FILE, FOLDER, OUT_FILE, PlugIn, any_of
from twostream.data.splits import DATASETS
from twostream_base.errors import InputError
from twostream_base.plugins import load

EXPORT_FORMATS = ("csv", "top", "npz", "npy", "gluoncv")


@click.group(
    cls=console.Group,
    example="twostream scores show runs/ucf101-split1/spatial-resnet18/scores/test.safetensors",
)
def scores() -> None:
    """Show, check, import and export score files."""


@scores.command(
    "show",
    short_help="Show the content of a score file.",
    cls=console.Command,
    example="twostream scores show spatial.safetensors",
)
@click.argument("file", type=FILE)
@click.option("--first", type=click.IntRange(min=0), default=5, help="Number of videos to list.")
@console.json_option
def show(file: Path, first: int, as_json: bool) -> None:
    """Show the content of a score file: header, accuracy, the top classes of the first videos."""
    from fusion.evaluation.inspect_file import content_lines, contents
    from fusion.tables.score_file import read_scores

    shown = contents(read_scores(file, in_memory=False), first=first)
    if as_json:
        console.print_json(shown)
    else:
        console.show(*content_lines(shown))


@scores.command(
    "check",
    short_help="Verify score files and whether they join.",
    cls=console.Command,
    example="twostream scores check spatial.safetensors motion.safetensors",
)
@click.argument("files", nargs=-1, required=True, type=FILE)
@console.json_option
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Verify score FILES, point out what is unusual in them, and say whether they join.

    Exit code 1: a file is broken, or the files do not join.
    """
    from fusion.evaluation.inspect_file import check_files, check_lines

    result = check_files(files)
    if as_json:
        console.print_json(result)
    else:
        console.show(*check_lines(result))
    joined = result["together"] is None or result["together"]["join"]
    if not joined or not all(file["sound"] for file in result["files"]):
        ctx.exit(1)


@scores.command(
    "import",
    cls=console.Command,
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
@click.option("--out", required=True, type=OUT_FILE, help="Score file to write.")
@click.option(
    "--dataset",
    type=PlugIn(DATASETS),
    help="Data set whose lists give names, order, class names, and labels where FILE has none: "
    f"{any_of(DATASETS)}.",
)
@click.option("--annotations", type=FOLDER, help="Folder of these lists.")
@click.option("--split", type=int, default=1, help="Split of these lists.")
@click.option(
    "--subset", type=click.Choice(["train", "test"]), default="test", help="List of that split."
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
@console.trust_option
def import_scores(file: Path, out: Path, format_name: str, **options: Any) -> None:
    """Import the score FILE of another tool.

    With --dataset and --annotations the videos must be those of that list; names, order, labels,
    groups and the order of classes are taken from it. Without, FILE itself must name the videos.
    """
    from fusion.exchange import importing
    from fusion.tables.score_file import write_scores
    from twostream.data.splits import known_groups, read_split

    external = load(format_name, SCORE_FORMATS)(file)
    if options["order"]:
        order = importing.read_order(
            options["order"], sort=options["sort_order"], numbered=options["order_names"]
        )
        external = importing.name_rows(external, order)
    if options["classes"]:
        external = replace(external, class_names=importing.read_class_names(options["classes"]))
    listed, facts = None, ["stream"]
    if bool(options["dataset"]) != bool(options["annotations"]):
        raise InputError("--dataset and --annotations go together: the lists, and whose they are")
    if options["dataset"]:
        reader = load(options["dataset"], DATASETS)
        split = read_split(reader, options["annotations"], split=options["split"])
        records = split.subset(options["subset"])
        listed = importing.VideoList(
            names=[record.name for record in records],
            labels=[record.label for record in records],
            class_names=split.class_names,
            groups=known_groups(records),
        )
        facts += ["dataset", "split", "subset"]
    table = importing.import_scores(
        external,
        listed=listed,
        metadata={key: options[key] for key in facts},
        summed_over=options["summed_over"],
    )
    write_scores(out, table)
    videos, segments, crops, classes = table.scores.shape
    console.show(f"{out}: {videos:,} videos, {segments} segments, {crops} crops, {classes} classes")
    if "class_order" in table.metadata:
        console.tell("its classes were in another order; they now have the order of the list")
    console.tell_next("scores", "show", str(out))


@scores.command(
    "export",
    cls=console.Command,
    example="twostream scores export fused.safetensors --format csv --out fused.csv",
)
@click.argument("file", type=FILE)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(EXPORT_FORMATS),
    default="top",
    help="top: CSV of name, label and the most probable classes. csv: one column a class. npz, "
    "npy: arrays. gluoncv: one text line a view.",
)
@click.option("--out", required=True, type=OUT_FILE, help="File to write.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    help="Number of classes that --format top lists.",
)
def export(file: Path, format_name: str, out: Path, top: int) -> None:
    """Export the score FILE for other tools. Pickles are never written.

    Groups of videos are kept by npz alone.
    """
    from fusion.exchange.exporting import WITH_GROUPS, export_scores
    from fusion.tables.score_file import read_scores

    options, table = {"top": top} if format_name == "top" else {}, read_scores(file)
    export_scores(out, table, format=format_name, **options)
    if table.groups is not None and format_name not in WITH_GROUPS:
        console.tell(
            f"the groups of the videos are not in {out}: {format_name} holds none; --format "
            f"{', '.join(WITH_GROUPS)} does"
        )
    console.show(f"{out} written")
