"""`twostream train`."""

from __future__ import annotations

import shutil
import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twostream.commands.options import compute_options, data_options, find_device
from twostream.console import ProjectOption, json_option, note, print_json, progress, quiet_option
from twostream.inference.protocols import PROTOCOLS
from twostream.models import MODELS
from twostream.models.consensus import CONSENSUS
from twostream.plugins import PlugIn

if TYPE_CHECKING:
    from twostream.training.run_folder import TrainOptions
    from twostream.training.trainer import Trainer

# Batch size and learning rate of the two streams differ by a factor of twenty in the field.
STREAM_DEFAULTS: dict[str, dict[str, Any]] = {
    "spatial": {"batch_size": 25, "lr": 5e-4},
    "motion": {"batch_size": 32, "lr": 1e-2},
}


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is not None:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
        options = {key.replace("-", "_"): value for key, value in config.items()}
        ctx.default_map = {**(ctx.default_map or {}), **options}


@click.command()
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="Take defaults from a TOML file, such as the config.toml of a run.",
)
@click.option(
    "--stream",
    required=True,
    type=click.Choice(["spatial", "motion"]),
    help="RGB frames, or stacks of 10 flow pairs.",
)
@click.option("--model", type=PlugIn(MODELS), default="resnet18", show_default=True)
@data_options
@click.option(
    "--runs",
    cls=ProjectOption,
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the run folders.",
)
@click.option("--name", default="", help="Added to the name of the run folder, STREAM-MODEL.")
@click.option("--epochs", type=click.IntRange(1), default=30, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), help="Videos.  [spatial 25, motion 32]")
@click.option(
    "--accumulate",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Parts in which a batch goes through the network, to save memory.",
)
@click.option(
    "--lr",
    type=click.FloatRange(0, min_open=True),
    help="Learning rate at the start.  [spatial 0.0005, motion 0.01]",
)
@click.option(
    "--momentum", type=click.FloatRange(0, 1, max_open=True), default=0.9, show_default=True
)
@click.option(
    "--segments",
    "num_segments",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Parts of a video, one random snippet from each.",
)
@click.option(
    "--consensus",
    type=PlugIn(CONSENSUS),
    default="mean",
    show_default=True,
    help="How segments become one prediction while training.",
)
@click.option(
    "--input-size",
    type=click.IntRange(32),
    default=224,
    show_default=True,
    help="Side of the network's input, pixels.",
)
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    help="Start from: imagenet, none, or a FILE of the model's state dict.",
)
@click.option(
    "--select",
    type=click.Choice(["val", "test"]),
    default="val",
    show_default=True,
    help="Videos that select the epoch. Selecting on test is written into every result.",
)
@click.option(
    "--select-by",
    type=click.Choice(["top1", "loss"]),
    default="top1",
    show_default=True,
    help="The highest top-1, or the lowest loss; the latter is steadier with few videos.",
)
@click.option(
    "--val-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Held out of the training list, in groups.",
)
@click.option(
    "--val-protocol",
    type=PlugIn(PROTOCOLS),
    default="segments3",
    show_default=True,
    help="Views of a video after each epoch.",
)
@click.option(
    "--protocol",
    type=PlugIn(PROTOCOLS),
    default="clips19",
    show_default=True,
    help="Views of a video in the score files.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--save-every",
    type=click.FloatRange(0),
    default=600.0,
    show_default=True,
    help="Seconds between checkpoints within an epoch.",
)
@click.option("--restart", is_flag=True, help="Delete what the run folder holds and begin anew.")
@compute_options
@quiet_option
@json_option
def train(restart: bool, quiet: bool, as_json: bool, **options: Any) -> None:
    """Train one stream, then write its scores of the validation and test videos.

    The same command again goes on where it stopped, and does nothing once all is done.
    """
    from twostream.training.data import gather
    from twostream.training.trainer import Trainer

    resolved = _resolve(options)
    data = gather(resolved)
    if restart and resolved.folder.exists():
        shutil.rmtree(resolved.folder)
    trainer = Trainer(resolved, data, bar=partial(progress, quiet=quiet))
    if not as_json:
        _introduce(trainer)
    _run(trainer, show=not as_json)
    if as_json:
        print_json({"run": str(resolved.folder), "epochs": trainer.rows})


def _resolve(options: dict[str, Any]) -> TrainOptions:
    """Fill in what depends on other options or on the machine, and turn paths into text."""
    import torch

    from twostream.training.precision import find_precision
    from twostream.training.run_folder import TrainOptions

    chosen = {key: value for key, value in options.items() if value is not None}
    paths = {key: str(options[key]) for key in ("annotations", "store", "runs")}
    device = find_device(options["device"])
    precision = find_precision(options["precision"], torch.device(device))
    found = {"device": device, "precision": precision}
    return TrainOptions(**{**STREAM_DEFAULTS[options["stream"]], **chosen, **paths, **found})


def _introduce(trainer: Trainer) -> None:
    options, data = trainer.options, trainer.data
    missing = len(data.train.missing) + len(data.test.missing)
    click.echo(
        f"==> {options.folder}: {options.stream} {options.model}, {len(data.class_names)} classes, "
        f"{len(data.train.videos):,} training, {len(data.val.videos):,} {options.select} and "
        f"{len(data.test.videos):,} test videos ({missing:,} listed ones missing), on "
        f"{options.device} in {options.precision}"
    )
    if trainer.next_epoch or trainer.progress.batches:
        click.echo(
            f"==> resumed after {trainer.next_epoch} of {options.epochs} epochs and "
            f"{trainer.progress.batches} batches"
        )
    if options.select == "test":
        note("Selecting the epoch on the test videos: the test accuracy will be too high.")


def _run(trainer: Trainer, *, show: bool) -> None:
    import torch

    from twostream.training.loop import NotFiniteError
    from twostream.training.run_log import bottleneck, console_line

    try:
        for row in trainer.run():
            stage = "training" if row["subset"] == "train" else "validation"
            if show:
                click.echo(f"==> Epoch:[{row['epoch']}/{trainer.options.epochs}][{stage} stage]")
                click.echo(console_line(row))
                if advice := bottleneck(row):
                    note(advice)
    except NotFiniteError as error:
        raise click.ClickException(str(error)) from error
    except torch.OutOfMemoryError as error:
        raise click.ClickException(_memory_advice(trainer.options)) from error
    scores = trainer.folder / "scores"
    written = trainer.write_scores()
    if show:
        click.echo(
            f"==> scores of the best epoch in {scores}"
            if written
            else f"==> nothing to do: trained and scored already, see {scores}"
        )


def _memory_advice(options: TrainOptions) -> str:
    at_once = -(-options.batch_size // options.accumulate)
    return (
        f"{options.device} is out of memory with {at_once} videos of {options.num_segments} "
        f"segments at {options.input_size} pixels. --accumulate {2 * options.accumulate} takes "
        "half as many at once for the same batch and learning rate; --precision bf16 and a smaller "
        "--input-size save memory too"
    )
