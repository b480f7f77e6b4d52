"""`twostream import-weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twostream.commands import console, shared_options
from twostream.commands.option_types import FOLDER, OUT_FOLDER, PlugIn, any_of
from twostream.data.splits import DATASETS


@click.command(
    "import-weights",
    cls=console.Command,
    example="twostream import-weights model_best.pth.tar --out runs/ucf101-split1/motion-old \\\n"
    "    --dataset ucf101 --annotations ucfTrainTestlist",
)
@click.argument("weights", metavar="FILE|NAME")
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
@shared_options.class_names
@click.option(
    "--rotated-stack/--straight-stack",
    "rotated",
    default=True,
    help="Motion networks of two-stream-action-recognition: its loader moves the first flow field "
    "of a stack to the end; --straight-stack if your copy does not.",
)
@console.trust_option
def import_weights(
    weights: str, out: Path, rotated: bool, trained_on_split: int | None, **options: Any
) -> None:
    """Import a checkpoint of another tool as a run: of a FILE, or published under a NAME.

    What it is is recognised by the names of its layers; `twostream weights` lists the published
    ones, and `score`, `predict`, `export` and `train` take either by their own --weights.
    """
    from twostream.data.splits import read_split
    from twostream.models.external_networks import open_weights, read_class_names, write_imported
    from twostream.training.run_folder import OF_A_RUN, describe_folder
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
    trained_on = names = None
    if trained_on_split is not None:
        trained_on = read_split(*lists, split=trained_on_split)
    if options["classes"]:
        names = read_class_names(options["classes"])
    elif all(lists):
        names = read_split(*lists, split=options["split"]).class_names
    # The data set of a project, which nobody typed, names classes where it has as many.
    source = click.get_current_context().get_parameter_source("dataset")
    network = open_weights(
        weights,
        class_names=names,
        must_fit=bool(options["classes"])
        or trained_on is not None
        or source is not click.core.ParameterSource.DEFAULT_MAP,
        rotated=rotated,
        bar=console.progress,
    )
    write_imported(
        out / "best",
        network,
        trained_on=trained_on,
        lists=(options["dataset"] or "", trained_on_split),
    )
    external = network.checkpoint
    console.show(
        f"{out / 'best'}: {network.text}; stored values minus {external.mean[0]:g} divided by "
        f"{external.std[0]:g} (first channel)"
    )
    console.tell_next("score", out)
