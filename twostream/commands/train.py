"""`twostream train`."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twostream.commands.console import (
    Command,
    json_option,
    note,
    print_json,
    progress,
    quiet_option,
)
from twostream.commands.options import compile_option, compute_options, data_options, find_device
from twostream.commands.train_options import (
    augmentation_options,
    dump_scores_option,
    memory_options,
    network_options,
    recipe_options,
    regularisation_options,
    run_options,
    schedule_options,
    snippet_options,
    validation_options,
)

if TYPE_CHECKING:
    from twostream.training.options import TrainOptions
    from twostream.training.trainer import Trainer

# Batch size and learning rate of the two streams differ by a factor of twenty in the field.
STREAM_DEFAULTS: dict[str, dict[str, Any]] = {
    "spatial": {"batch_size": 25, "lr": 5e-4},
    "motion": {"batch_size": 32, "lr": 1e-2},
    "difference": {"batch_size": 32, "lr": 1e-2},
}


@click.command(
    cls=Command,
    common=(
        "--stream", "--model", "--weights", "--dataset", "--annotations", "--split", "--store",
        "--runs", "--name", "--epochs", "--batch-size", "--lr", "--recipe", "--device",
    ),
    example="twostream train --stream spatial\n"
    "twostream train --stream motion --recipe strong --batch-size 16 --name strong",
)  # fmt: skip
@recipe_options
@data_options
@network_options
@snippet_options
@run_options
@schedule_options
@augmentation_options
@regularisation_options
@validation_options
@memory_options
@dump_scores_option
@compute_options
@compile_option
@quiet_option
@json_option
def train(restart: bool, quiet: bool, as_json: bool, **options: Any) -> None:
    """Train one stream and write its scores of the validation and test videos.

    Re-run the same command to resume a training that was stopped; a finished one is left as it is.
    """
    from twostream.compute.distributed import process_group, rank
    from twostream.training.data import gather
    from twostream.training.trainer import Trainer

    resolved = _resolve(options)
    with process_group(resolved.device):
        data = gather(resolved)
        if restart:
            _remove(resolved.folder)
        first = rank() == 0
        bar = partial(progress, quiet=quiet or not first)
        trainer = Trainer(resolved, data, bar=bar, tell=note if first else _say_nothing)
        _run(trainer, show=first and not as_json)
        if first and as_json:
            print_json({"run": str(resolved.folder), "epochs": trainer.run.rows})


def _remove(folder: Path) -> None:
    """Delete a run folder, once: not again when torchrun's --max-restarts starts us anew."""
    from twostream.compute.distributed import num_restarts, rank

    if rank() == 0 and not num_restarts() and folder.exists():
        shutil.rmtree(folder)


def _say_nothing(text: str) -> None:
    """Stands for `note` in all processes but the first."""


def _resolve(options: dict[str, Any]) -> TrainOptions:
    """Fill in what depends on other options or on the machine, and turn paths into text."""
    import torch

    from twostream.compute.precision import find_precision
    from twostream.models import default_clip
    from twostream.training.options import TrainOptions, check_options

    chosen = {key: value for key, value in options.items() if value is not None}
    if chosen.get("batch_size") == "auto":
        del chosen["batch_size"]
        chosen["accumulate"] = "auto"
    paths = {key: str(options[key]) for key in ("annotations", "store", "runs")}
    device = find_device(options["device"])
    precision = find_precision(options["precision"], torch.device(device))
    found = {
        "device": device,
        "precision": precision,
        "consensus_option": list(options["consensus_option"]),
        "model_option": list(options["model_option"]),
    }
    defaults = STREAM_DEFAULTS[options["stream"]] | default_clip(
        options["model"], options["stream"]
    )
    resolved = TrainOptions(**{**defaults, **chosen, **paths, **found})
    check_options(resolved)
    return resolved


def _introduce(trainer: Trainer) -> None:
    from twostream.compute.distributed import world_size

    options, data = trainer.options, trainer.data
    shared = f", by {world_size()} processes" if world_size() > 1 else ""
    missing = len(data.train.missing) + len(data.test.missing)
    click.echo(
        f"==> {options.folder}: {options.stream} {options.model}, {len(data.class_names)} classes, "
        f"{len(data.train.videos):,} training, {len(data.val.videos):,} {options.select} and "
        f"{len(data.test.videos):,} test videos ({missing:,} listed ones missing), on "
        f"{options.device} in {options.precision}"
        f"{', evaluation compiled' if options.compiled else ''}{shared}"
    )
    if trainer.run.next_epoch or trainer.progress.batches:
        click.echo(
            f"==> resumed after {trainer.run.next_epoch} of {options.epochs} epochs and "
            f"{trainer.progress.batches} batches"
        )
    if options.sync_bn and world_size() == 1:
        note("--sync-bn has no effect: one process sees the whole batch anyway.")
    if options.select == "test":
        note("Selecting the epoch on the test videos: the test accuracy will be too high.")


def _run(trainer: Trainer, *, show: bool) -> None:
    from twostream.compute.memory import is_out_of_memory
    from twostream.training.loop import NotFiniteError

    if show:
        _introduce(trainer)
    try:
        for row in trainer.train():
            if show:
                _show(row, trainer)
    except NotFiniteError as error:
        raise click.ClickException(str(error)) from error
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise click.ClickException(_memory_advice(trainer)) from error
    scores = trainer.run.folder / "scores"
    written = trainer.write_scores()
    if show:
        click.echo(
            f"==> scores of the best epoch in {scores}"
            if written
            else f"==> nothing to do: trained and scored already, see {scores}"
        )


def _show(row: dict[str, Any], trainer: Trainer) -> None:
    """Print the lines of an epoch's stage, and what would make the next one faster."""
    from twostream.training.run_log import (
        bottleneck,
        console_line,
        segments_line,
        validation_advice,
        validation_share,
    )

    epoch, trains = row["epoch"], row["subset"] == "train"
    stage = "training" if trains else "validation"
    click.echo(f"==> Epoch:[{epoch}/{trainer.options.epochs}][{stage} stage]")
    if trains:
        click.echo(console_line(row))
        advice = bottleneck(row)
    else:
        share = validation_share(trainer.run.rows, epoch)
        click.echo(f"{console_line(row)}, {100 * share:.0f} % of the epoch's time")
        if segments := segments_line(row):
            click.echo(segments)
        advice = validation_advice(share)
    if advice:
        note(advice)


def _memory_advice(trainer: Trainer) -> str:
    options, parts = trainer.options, trainer.learner.micro_batches.parts
    fewer = (
        ""
        if parts >= options.batch_size
        else (
            f"--accumulate {2 * parts} takes half as many at once for the same batch and learning "
            "rate (--accumulate auto finds out by itself); "
        )
    )
    return (
        f"{options.device} is out of memory with {-(-options.batch_size // parts)} videos of "
        f"{options.num_segments} segments at {options.input_size} pixels. {fewer}--precision bf16 "
        "and a smaller --input-size save memory too"
    )
