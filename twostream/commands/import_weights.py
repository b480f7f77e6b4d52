"""`twostream import-weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twostream.commands import console
from twostream.commands.option_types import FILE, FOLDER, OUT_FOLDER, PlugIn, any_of
from twostream.data.splits import DATASETS


@click.command(
    "import-weights",
    cls=console.Command,
    example="twostream import-weights model_best.pth.tar --out runs/ucf101-split1/motion-old \\\n"
    "    --dataset ucf101 --annotations ucfTrainTestlist",
)
@click.argument("file", type=FILE)
@click.option(
    "--out",
    required=True,
    type=OUT_FOLDER,
    help="Run folder to create; the checkpoint goes into its folder `best`.",
)
@click.option(
    "--dataset",
    type=PlugIn(DATASETS),
    help=f"Data set whose lists name the classes: {any_of(DATASETS)}.",
)
@click.option("--annotations", type=FOLDER, help="Folder of these lists.")
@click.option("--split", type=int, default=1, help="Split of these lists.")
@click.option(
    "--trained-on-split",
    type=int,
    metavar="NUMBER",
    help="Split of these lists on which the network was trained: `score` then refuses its training "
    "videos.  [default: not known]",
)
@click.option(
    "--rotated-stack/--straight-stack",
    "rotated",
    default=True,
    help="Motion networks of two-stream-action-recognition: its loader moves the first flow field "
    "of a stack to the end; --straight-stack if your copy does not.",
)
@console.trust_option
def import_weights(
    file: Path, out: Path, rotated: bool, trained_on_split: int | None, **options: Any
) -> None:
    """Import the checkpoint FILE of another tool as a run that can be scored.

    FILE is a ResNet of torchvision, two-stream-action-recognition or tsn-pytorch; the format is
    recognised by the names of its weights.
    """
    from twostream.data.splits import read_split
    from twostream.models.external_checkpoints import read_external, write_imported
    from twostream.training.run import OF_A_RUN, describe_folder
    from twostream_base.errors import InputError

    if any((out / name).exists() for name in OF_A_RUN):
        raise InputError(
            f"{describe_folder(out)}: a run is there already; give another --out, or remove it"
        )
    lists = (options["dataset"], options["annotations"])
    if any(lists) and not all(lists):
        raise InputError("--dataset and --annotations go together: the lists, and whose they are")
    if trained_on_split is not None and not all(lists):
        raise InputError("--trained-on-split needs --dataset and --annotations, whose split it is")
    external = read_external(file, rotated=rotated)
    names = tuple(str(label) for label in range(external.num_classes))
    trained_on = None
    if trained_on_split is not None:
        trained_on = read_split(*lists, split=trained_on_split)
    if all(lists):
        split = read_split(options["dataset"], options["annotations"], split=options["split"])
        names = split.class_names
    write_imported(
        out / "best",
        external,
        class_names=names,
        source=str(file),
        trained_on=trained_on,
        lists=(options["dataset"] or "", trained_on_split),
    )
    pairs = f", looking at the first {external.pairs} of 10 flow pairs" if external.pairs else ""
    console.show(
        f"{out / 'best'}: {external.stream} {external.model} of {external.format}, {len(names)} "
        f"classes, stored values minus {external.mean[0]:g} divided by {external.std[0]:g} (first "
        f"channel){pairs}"
    )
    console.tell_next("score", out)
