"""`twostream train`."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twostream.commands import console, shared_options
from twostream.commands.option_types import OPTION_FILES
from twostream.commands.train_options import train_options
from twostream.models.consensus import CONSENSUS, Learned
from twostream_base import plugins
from twostream_base.errors import some_of

if TYPE_CHECKING:
    from twostream.models.external_checkpoints import ExternalCheckpoint
    from twostream.training.options import TrainOptions
    from twostream.training.trainer import Trainer

# Batch size and learning rate of the two streams differ by a factor of twenty in the field.
STREAM_DEFAULTS: dict[str, dict[str, Any]] = {
    "spatial": {"batch_size": 25, "lr": 5e-4},
    "motion": {"batch_size": 32, "lr": 1e-2},
    "difference": {"batch_size": 32, "lr": 1e-2},
    "joint": {"batch_size": 25, "lr": 1e-3},
}


@click.command(
    cls=console.Command,
    common=(
        "--stream", "--model", "--weights", "--dataset", "--annotations", "--split", "--store",
        "--runs", "--name", "--epochs", "--batch-size", "--lr", "--recipe", "--device",
    ),
    example="twostream train --stream spatial\n"
    "twostream train --stream motion --recipe strong --batch-size 16 --name strong\n"
    "twostream train --stream joint --from RUN_SPATIAL RUN_MOTION --fuse-at layer3 --fuse conv\n"
    "twostream train --stream spatial --model tsm-resnet18 --teacher RUN_MOTION --distill mars",
)  # fmt: skip
@train_options
@shared_options.on_training_videos
@console.quiet_option
@console.json_option
def train(
    restart: bool,
    on_training_videos: bool,
    dry_run: bool,
    plot: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train one stream and write its scores of the validation and test videos.

    Re-run the same command to resume a training that was stopped; a finished one is left as it is.
    """
    from twostream.compute.device import is_out_of_memory
    from twostream.compute.distributed import is_to_remove, process_group, rank
    from twostream.training.data import gather
    from twostream.training.loop import NotFiniteError
    from twostream.training.trainer import Trainer

    settings, checkpoint = complete_options(options, restart=restart)
    if dry_run:
        from twostream.training.plan import plan_lines, plan_run

        plan = plan_run(settings)
        if checkpoint:
            console.tell(_what_starts_it(checkpoint, settings, plan["classes"]))
        if as_json:
            console.print_json(plan)
        else:
            console.show(f"==> {plan['run']}", *plan_lines(plan))
        return
    with process_group(settings.device):
        data = gather(settings)
        first = rank() == 0
        if checkpoint and first:
            console.tell(_what_starts_it(checkpoint, settings, len(data.class_names)))
        trainer = Trainer(
            settings,
            data,
            bar=partial(console.progress, quiet=quiet or not first),
            tell=console.tell if first else lambda text: None,
            restart=restart and is_to_remove(),
            on_training_videos=on_training_videos,
            trust_plugins=console.trusts_plugins(),
        )
        show = first and not as_json
        if show:
            _print_start(trainer)
        try:
            for row in trainer.train():
                if show:
                    _print_stage(row, trainer)
        except NotFiniteError as error:
            raise click.ClickException(str(error)) from error
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise click.ClickException(_memory_advice(trainer)) from error
        written = trainer.write_scores()
        if first:
            _print_result(trainer, written=written, plot=plot, as_json=as_json)


def complete_options(
    options: dict[str, Any], *, restart: bool = False
) -> tuple[TrainOptions, ExternalCheckpoint | None]:
    """Fill in what depends on other options or on the machine, and turn paths into text.

    Where no --model is typed, the runs of --from, or a checkpoint of another tool, decide the
    network and its snippet. A run that goes on needs them no more: its own configuration says so.
    """
    import torch

    from twostream.compute.device import find_precision
    from twostream.models import default_clip, default_input_size, network_protocol
    from twostream.models.initial_weights import PRETRAINED, recognised
    from twostream.training.options import TrainOptions, check_options
    from twostream.training.run_folder import run_begun_with
    from twostream.training.two_runs import find_starts

    stream, typed, trust = options["stream"], console.typed_options(), console.trusts_plugins()
    _complete_joint(options, typed)
    _complete_teacher(options, typed)
    starts = options["start_from"]
    is_named = bool(starts) or options["weights"] not in ("none", *PRETRAINED)
    source = click.get_current_context().get_parameter_source("model")
    is_open = source is click.core.ParameterSource.DEFAULT or (starts and "model" not in typed)
    begun = None
    if is_named and not restart:
        begun = run_begun_with(options, model=None if is_open else options["model"])
    checkpoint = None if begun else recognised(options["weights"], bar=console.progress)
    known: dict[str, Any] = {}  # of the network that it starts from
    if begun:
        known = plugins.trust(begun, trust)
    elif starts:
        known = find_starts(
            starts,
            model_option=options["model_option"],
            trust_plugins=trust or {options["model"]},  # a plug-in only where it was typed
        )
    elif checkpoint:
        texts = (
            f"{key}={str(value).lower() if isinstance(value, bool) else value}"
            for key, value in checkpoint.model_options.items()
        )
        known = {"model": checkpoint.model, "model_option": tuple(texts)}
    if known.get("model") and is_open:
        options["model"] = known["model"]
    if known and (is_open or (starts and options["model"] == known["model"])):
        keys = {text.partition("=")[0].strip() for text in options["model_option"]}
        options["model_option"] += tuple(
            text for text in known["model_option"] if text.partition("=")[0] not in keys
        )
    values = STREAM_DEFAULTS[stream] | default_clip(options["model"], stream)
    values |= {"crop": "random" if options["jitter"] else "corners", "flow_stack": 1}
    if checkpoint and checkpoint.model == options["model"] and checkpoint.stream == stream:
        clip = {key: getattr(checkpoint, key) for key in ("clip_length", "frame_interval")}
        values |= {key: value for key, value in clip.items() if value is not None}
        values["flow_stack"] = checkpoint.stack
    values["clip_length"] *= options["flow_stack"] or values["flow_stack"]
    decided = ["clip_length", "frame_interval", "flow_stack", *(["input_size"] if starts else [])]
    values |= {key: known[key] for key in decided if known.get(key) is not None}
    if options["input_size"] is None and "input_size" not in values:
        values["input_size"] = default_input_size(options["model"])
    if starts and "resize" not in typed:
        options["resize"] = known["resize"]
    values |= {key: value for key, value in options.items() if value is not None}
    if options["batch_size"] == "auto":
        values["batch_size"] = STREAM_DEFAULTS[stream]["batch_size"]
        values["accumulate"] = "auto"
    values |= {key: str(options[key]) for key in ("annotations", "store", "runs")}
    values |= {key: list(options[key]) for key in ("consensus_option", "model_option")}
    # The name of a plug-in among them, `motion_model`.
    values["model_option"] = plugins.trust(values["model_option"], trust)
    if options["class_weights"] not in ("", "balanced"):  # a file: a run may be resumed elsewhere
        values["class_weights"] = os.path.abspath(options["class_weights"])
    values |= {
        key: network_protocol(
            options[key],
            model=options["model"],
            num_segments=options["num_segments"],
            frame_interval=values["frame_interval"],
        )
        for key in ("protocol", "val_protocol")
    }
    values["device"] = shared_options.find_device(options["device"])
    values["precision"] = find_precision(options["precision"], torch.device(values["device"]))
    settings = TrainOptions(**values)
    check_options(settings)
    return settings, checkpoint


JOINT_OPTIONS = ("start_from", "fuse_at", "fuse", "keep_both", "auxiliary_loss")
TEACHER_OPTIONS = ("distill", "distill_weight", "temperature")


def _complete_joint(options: dict[str, Any], typed: set[str]) -> None:
    """Fill in the options of --stream joint; for other streams they are empty."""
    if options["stream"] != "joint":
        if strange := [key for key in JOINT_OPTIONS if key in typed]:
            option = "--from" if strange[0] == "start_from" else f"--{strange[0]}"
            raise click.UsageError(f"{option.replace('_', '-')} is for --stream joint.")
        console.tell_unused(JOINT_OPTIONS, options, needed="--stream joint")
        options |= {"start_from": (), "fuse_at": "", "fuse": "", "keep_both": False}
        options["auxiliary_loss"] = 0.0
        return
    options["start_from"] = tuple(map(str, options["start_from"] or ()))
    if options["start_from"]:
        if "weights" in typed:
            raise click.UsageError("--from and --weights both say what to start from; give one.")
        options["weights"] = "none"


def _complete_teacher(options: dict[str, Any], typed: set[str]) -> None:
    """Fill in the options of --teacher; without one they are empty."""
    if not options["teacher"]:
        files = click.get_current_context().meta.get(OPTION_FILES, {})
        for key in TEACHER_OPTIONS:
            if key in typed or (files.get(key) and options[key]):
                place = "" if key in typed else f"{files[key]}: "
                option = key.replace("_", "-")
                raise click.UsageError(
                    f"{place}--{option} needs --teacher, the run of a motion network."
                )
        console.tell_unused(TEACHER_OPTIONS, options, needed="--teacher")
        options |= {"teacher": "", "distill": "", "distill_weight": 0.0, "temperature": 0.0}
        return
    if options["stream"] != "spatial":
        raise click.UsageError("--teacher is for --stream spatial: it teaches RGB the motion.")
    weight = options["distill_weight"]
    if not weight and "distill_weight" in typed:
        raise click.UsageError("--distill-weight 0 learns nothing of --teacher: leave both out.")
    options["teacher"] = str(options["teacher"])
    options["distill_weight"] = weight or (1.0 if options["distill"] == "logits" else 50.0)


def _what_starts_it(checkpoint: ExternalCheckpoint, options: TrainOptions, classes: int) -> str:
    """What another tool's checkpoint is, and whether its classifier is kept."""
    learns = isinstance(CONSENSUS.get(options.consensus), Learned)
    is_kept = checkpoint.num_classes == classes and not learns
    return (
        f"--weights {options.weights}: {checkpoint.stream} {checkpoint.model} of "
        f"{checkpoint.format}; its classifier of {checkpoint.num_classes:,} classes is "
        f"{'kept' if is_kept else f'replaced, the data set has {classes:,}'}"
    )


def _print_start(trainer: Trainer) -> None:
    from twostream.compute.distributed import world_size

    options, data = trainer.options, trainer.data
    shared = f", by {world_size()} processes" if world_size() > 1 else ""
    missing = len({*data.train.missing, *data.val.missing, *data.test.missing})
    console.show(
        f"==> {options.folder}: {options.stream} {options.model}, {len(data.class_names)} classes, "
        f"{len(data.train.videos):,} training, {len(data.val.videos):,} {options.select} and "
        f"{len(data.test.videos):,} test videos ({missing:,} listed ones missing), on "
        f"{options.device} in {options.precision}"
        f"{', compiled' if options.compiled else ''}{shared}"
    )
    if trainer.run.next_epoch or trainer.progress.batches:
        console.show(
            f"==> resumed after {trainer.run.next_epoch} of {options.epochs} epochs and "
            f"{trainer.progress.batches} batches"
        )
    if unlisted := sorted(data.train.unlisted & data.val.unlisted & data.test.unlisted):
        console.tell(
            f"{len(unlisted):,} stored videos are in no list of split {options.split} and not "
            f"used: {some_of(unlisted, limit=3)}"
        )
    learnt = {video.record.label for video in data.train.videos}
    tested = Counter(data.class_names[label] for v in data.test.videos
                     if (label := v.record.label) not in learnt)  # fmt: skip
    if tested:
        classes = [f"{name} ({count:,})" for name, count in sorted(tested.items())]
        console.tell(
            f"Nothing is learnt of {len(tested):,} classes that have test videos: "
            f"{some_of(classes, limit=3)}; these will be wrong."
        )
    if options.sync_bn and world_size() == 1:
        console.tell("--sync-bn has no effect: one process sees the whole batch anyway.")
    if options.select == "test":
        console.tell("Selecting the epoch on the test videos: the test accuracy will be too high.")


def _print_stage(row: dict[str, Any], trainer: Trainer) -> None:
    """The lines of an epoch's training or validation, and what would make the next one faster."""
    from twostream.training import run_log

    epoch, is_training = row["epoch"], row["subset"] == "train"
    stage = "training" if is_training else "validation"
    console.show(f"==> Epoch:[{epoch}/{trainer.options.epochs}][{stage} stage]")
    line = run_log.console_line(row, classes=len(trainer.data.class_names))
    if is_training:
        console.show(line)
        advice = run_log.bottleneck(
            row,
            codec=trainer.data.train.extraction["codec"],
            workers=trainer.options.threads,
            cores=shared_options.cores_of_a_process(),
            computing=trainer.loading_time.share_computing,
        )
    else:
        share = run_log.validation_share(trainer.run.rows, epoch)
        console.show(f"{line}, {100 * share:.0f} % of the epoch's time")
        if segments := run_log.segments_line(row):
            console.show(segments)
        advice = run_log.validation_advice(share)
    if advice:
        console.tell(advice)


def _print_result(trainer: Trainer, *, written: bool, plot: bool, as_json: bool) -> None:
    """What the score files of the run reach, where they are, and the next command."""
    from fusion.evaluation.inspect_file import contents
    from fusion.evaluation.results import accuracy_text, interval_basis
    from fusion.tables.score_file import read_scores

    options, folder = trainer.options, trainer.run.folder
    files = {
        subset: folder / "scores" / f"{subset}.safetensors"
        for subset in dict.fromkeys((options.select, "test"))
    }
    accuracy = {
        subset: contents(read_scores(path), first=0)["accuracy"] for subset, path in files.items()
    }
    if as_json:
        seen = {subset: videos.facts for subset, videos in trainer.seen.items() if videos}
        result = {"run": str(folder), "epochs": trainer.run.rows, "accuracy": accuracy}
        console.print_json(result | ({"seen_in_training": seen} if seen else {}))
        return
    if plot:
        from twostream.training.run_log import plot_curves

        width = shutil.get_terminal_size().columns
        console.show(*plot_curves(trainer.run.rows, select=options.select, width=width), "")
    console.show(
        f"==> scores of the best epoch in {folder / 'scores'}"
        if written
        else f"==> nothing to do: trained and scored already, see {folder / 'scores'}"
    )
    for subset, summary in accuracy.items():
        basis = interval_basis(
            summary["groups"], summary["top1"]["of"], cure="give groups to `init`"
        )
        note = f"  warning: {trainer.seen[subset].text}" if trainer.seen[subset] else ""
        console.show(f"    {subset:<4}  top-1 {accuracy_text(summary['top1'])}  {basis}{note}")
    split = [] if options.split == 1 else ["--split", options.split]
    other = "motion" if options.stream == "spatial" else "spatial"
    if options.start_from and all(Path(path).is_dir() for path in options.start_from):
        console.tell_next("fuse", *options.start_from, folder)  # one more voter
    elif any(folder.parent.glob(f"{other}-*/scores/test.safetensors")):
        console.tell_next("fuse", *split)
    else:
        console.tell_next("train", "--stream", other, *split)


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
