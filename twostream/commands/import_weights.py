"""`twostream import-weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twostream.commands.options import FOLDER
from twostream.data.splits import DATASETS
from twostream.plugins import PlugIn, load


@click.command("import-weights")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Run folder to be made; the checkpoint goes to its `best`.",
)
@click.option("--dataset", type=PlugIn(DATASETS), help="Whose lists name the classes ...")
@click.option("--annotations", type=FOLDER, help="... in which folder ...")
@click.option("--split", type=int, default=1, show_default=True, help="... of which split.")
@click.option(
    "--rotated-stack/--straight-stack",
    "rotated",
    default=True,
    show_default=True,
    help="two-stream's motion networks: the loader put a stack's first pair last, as it does in "
    "the original; straight if yours was mended.",
)
def import_weights(file: Path, out: Path, rotated: bool, **options: Any) -> None:
    """Turn the checkpoint FILE of another tool into a run that can be scored.

    FILE is a ResNet of torchvision, two-stream-action-recognition or tsn-pytorch; which one is seen
    from its names.

    \b
    twostream import-weights model_best.pth.tar --out runs/ucf101-split1/motion-imported \\
        --dataset ucf101 --annotations ucfTrainTestlist
    """
    from twostream.models.foreign_weights import read_foreign
    from twostream.training.import_weights import write_imported

    foreign = read_foreign(file, rotated=rotated)
    names = _class_names(options) or tuple(str(label) for label in range(foreign.num_classes))
    write_imported(out / "best", foreign, class_names=names, source=str(file))
    pairs = f", looking at the first {foreign.pairs} of 10 flow pairs" if foreign.pairs else ""
    click.echo(
        f"{out / 'best'}: {foreign.stream} {foreign.model} of {foreign.format}, {len(names)} "
        f"classes, stored values minus {foreign.mean[0]:g} divided by {foreign.std[0]:g} (first "
        f"channel){pairs}"
    )


def _class_names(options: dict[str, Any]) -> tuple[str, ...]:
    from twostream.data.splits import read_split

    if not (options["dataset"] and options["annotations"]):
        return ()
    reader = load(options["dataset"], DATASETS)
    return tuple(read_split(reader, options["annotations"], split=options["split"]).class_names)
