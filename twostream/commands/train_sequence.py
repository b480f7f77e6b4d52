"""`twostream train-sequence`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from twostream.commands import console, shared_options
from twostream.commands.option_files import take_defaults, take_stream
from twostream.commands.option_types import (
    FILE,
    FILE_OR_FOLDER,
    OPTION_FILES,
    OUT_PATH,
    PlugIn,
    Stage,
    any_of,
    numbers,
)
from twostream.sequence.lists import SEQUENCE_DATASETS
from twostream.sequence.options import RECIPES, SIMILARITIES, STEP_FORMS, run_folder
from twostream.sequence.transcripts import NORMALISERS, usual_normaliser

if TYPE_CHECKING:
    from twostream.sequence.trainer import SequenceTrainer

PATHS = ("annotations", "videos", "store", "runs", "vocabulary", "load")
OF_BOTH_STREAMS = ("start_from", "fuse", "similarity", "auxiliary_loss")  # of --stream joint alone


def _read_recipe(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    take_defaults(ctx, param, RECIPES[name] if name else None)
    return name


network_options = console.section(
    "Network",
    click.option(
        "--recipe",
        type=click.Choice(list(RECIPES)),
        metavar="NAME",
        is_eager=True,
        callback=_read_recipe,
        help="Take defaults from a recipe; options on the command line win. Recipes: "
        f"{', '.join(RECIPES)}.",
    ),
    shared_options.config,
    click.option(
        "--stream",
        type=click.Choice(["spatial", "motion", "joint"]),
        is_eager=True,
        callback=take_stream,
        default="spatial",
        help="What the network sees: RGB frames, flow between neighbouring frames, or both.",
    ),
    click.option(
        "--backbone",
        type=Stage(),
        default="plain",
        help="Network for single frames: plain or resnet18, with options as in 'resnet18 "
        "weights=imagenet'.",
    ),
    click.option(
        "--temporal",
        type=Stage(),
        multiple=True,
        default=("conv",),
        help="Temporal module, with options as in 'dynamic_framing k=12'; repeat to stack modules.",
    ),
    click.option(
        "--frame-size", type=click.IntRange(32), default=128,
        help="Frames are scaled to squares of this side, pixels.",
    ),
    click.option(
        "--input-size", type=click.IntRange(32), default=112,
        help="Side of the crop that the network sees, pixels.",
    ),
)  # fmt: skip

joint_options = console.section(
    "Both streams in one network",
    click.option(
        "--from",
        "start_from",
        nargs=2,
        type=OUT_PATH,  # a run that goes on does not need them any more
        metavar="SPATIAL MOTION",
        help="Trained runs of both streams that the network starts from; they decide --backbone, "
        "--temporal, --frame-size and --input-size too.",
    ),
    click.option(
        "--fuse",
        type=PlugIn(STEP_FORMS),
        default="sum",
        help=f"How the streams are joined at each time step: {any_of(STEP_FORMS)}; sum and concat "
        "are the mean of both classifiers.",
    ),
    click.option(
        "--similarity",
        type=click.Choice(SIMILARITIES),
        default="joined",
        help="Features by which dynamic framing, as the first --temporal, chooses its frames, once "
        "for both streams.",
    ),
    click.option(
        "--auxiliary-loss",
        type=click.FloatRange(0),
        default=0.5,
        metavar="WEIGHT",
        help="Add the CTC losses of each stream by itself, with this weight.",
    ),
)

sequence_data_options = console.section(
    "Data",
    click.option(
        "--dataset", required=True, type=PlugIn(SEQUENCE_DATASETS),
        help=f"Data set whose lists are read: {any_of(SEQUENCE_DATASETS)}.",
    ),
    click.option(
        "--annotations", required=True, type=OUT_PATH, help="Folder of the lists."
    ),
    click.option(
        "--videos", required=True, type=OUT_PATH,
        help="Folder of video files, or of one folder of frames a video.",
    ),
    click.option(
        "--store", type=OUT_PATH, callback=shared_options.take_store,
        help="Store in which extract-flow has put the frames and flow of the --videos; without it "
        "flow is computed anew in each epoch, by DIS.",
    ),
    click.option(
        "--vocabulary", type=FILE,
        help="File with all glosses.  [default: those of the training list]",
    ),
    click.option(
        "--allow-missing", is_flag=True,
        help="Go on without listed videos that lack frames; results say how many.",
    ),
    shared_options.use_damaged,
)  # fmt: skip

run_options = console.section(
    "Schedule",
    click.option(
        "--runs", type=OUT_PATH, default="runs",
        help="Folder for the run folders.",
    ),
    click.option(
        "--name", default="", help="Name of the run folder.  [default: the recipe's name, or ctc]"
    ),
    click.option(
        "--epochs", type=click.IntRange(1), default=80,
        help="Passes over the training videos.",
    ),
    click.option(
        "--batch-size", type=click.IntRange(1), default=2, help="Videos a step."
    ),
    click.option(
        "--lr", type=click.FloatRange(0, min_open=True), default=1e-4,
        help="Initial learning rate of Adam.",
    ),
    click.option(
        "--stage-lr", multiple=True, metavar="PART=RATE",
        help="Learning rate of a part: backbone, temporal, temporal.0 ... classifier; repeatable.",
    ),
    click.option(
        "--halve-at", type=numbers("epochs", least=1), default="40,60",
        metavar="N,N,...", help="Epochs at which the learning rates are halved.",
    ),
    click.option(
        "--weight-decay", type=click.FloatRange(0), default=0.0,
        help="Weight decay of Adam.",
    ),
    click.option(
        "--clip-norm", type=click.FloatRange(0, min_open=True), default=5.0,
        help="Clip the L2 norm of the whole gradient to this.",
    ),
    click.option(
        "--flip", type=click.FloatRange(0, 1), default=0.0, metavar="SHARE",
        help="Mirror this share of the training videos left to right; 0.5 is usual.",
    ),
    click.option(
        "--ema", type=click.FloatRange(0, 1, max_open=True), default=0.0,
        help="Validate and keep an exponential moving average of the weights, of this decay.",
    ),
    click.option(
        "--average", default="", metavar="last:N|best:N",
        help="Score with the mean of the weights of the last, or best, N epochs.",
    ),
    click.option(
        "--beam", type=click.IntRange(0), default=0,
        help="Decode the validation videos by a beam search of this width; 0 is greedy.",
    ),
    click.option(
        "--normalise", type=PlugIn(NORMALISERS),
        help="Clean-up of the glosses before the errors are counted that choose the epoch: "
        f"{any_of(NORMALISERS)}.  [default: the data set's]",
    ),
    click.option(
        "--load", type=FILE_OR_FOLDER,
        help="Start from the weights of this run folder or file.",
    ),
    click.option(
        "--load-stages", multiple=True, metavar="PART[=SOURCE]",
        help="Part to load, from the part SOURCE of --load; repeatable.  [default: backbone]",
    ),
    click.option(
        "--freeze", multiple=True, metavar="PART", help="Part that is not trained; repeatable."
    ),
    shared_options.seed,
    shared_options.restart,
)  # fmt: skip


@click.command(
    "train-sequence",
    cls=console.Command,
    common=(
        "--recipe", "--stream", "--backbone", "--temporal", "--dataset", "--annotations",
        "--videos", "--runs", "--name", "--epochs", "--batch-size", "--lr", "--device",
    ),
    example="twostream train-sequence --dataset csv --annotations lists --videos frames\n"
    "twostream train-sequence --dataset toy --annotations toy/lists --videos toy/frames",
)  # fmt: skip
@network_options
@joint_options
@sequence_data_options
@shared_options.on_training_videos
@run_options
@shared_options.compute
@console.trust_option
@console.quiet_option
@console.json_option
def train_sequence(
    restart: bool, on_training_videos: bool, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Train a network that turns a video into a sequence of glosses (CTC) and write its scores.

    Re-run the same command to resume a training that was stopped; a finished one is left as it is.
    """
    import torch

    from twostream.compute.device import find_precision
    from twostream.sequence.checkpoint import read_average
    from twostream.sequence.options import SequenceOptions, read_sequence_data
    from twostream.sequence.trainer import SequenceTrainer
    from twostream.training.loop import NotFiniteError

    recipe = options.pop("recipe")
    options["name"] = options["name"] or recipe or "ctc"
    _complete_joint(options, restart=restart)
    if options["input_size"] > options["frame_size"]:
        raise click.UsageError("--input-size is a crop of --frame-size and cannot be larger")
    if options["load_stages"] and not options["load"]:
        raise click.UsageError("--load is missing: the run that --load-stages takes parts of")
    read_average(options["average"])
    options |= {key: str(options[key] or "") for key in PATHS}
    options["normalise"] = options["normalise"] or usual_normaliser(options["dataset"])
    options["device"] = shared_options.find_device(options["device"])
    options["precision"] = find_precision(options["precision"], torch.device(options["device"]))
    options["load_stages"] = options["load_stages"] or (("backbone",) if options["load"] else ())
    sequence_options = SequenceOptions(**options)
    bar = partial(console.progress, quiet=quiet)
    data = read_sequence_data(sequence_options, bar=bar)
    trainer = SequenceTrainer(
        sequence_options,
        data,
        bar=bar,
        tell=console.tell,
        restart=restart,
        on_training_videos=on_training_videos,
    )
    if not as_json:
        _print_start(trainer)
    try:
        for row in trainer.train():
            if not as_json:
                console.show(
                    f"epoch {row['epoch']}: loss {row['loss']:.3f}, validation "
                    f"{row['val_loss']:.3f}, word error rate {100 * row['wer']:.2f} % "
                    f"({row['errors']} of {row['words']}), lr {row['lr']:g}, {row['seconds']:.1f} s"
                )
    except NotFiniteError as error:
        raise click.ClickException(str(error)) from error
    except torch.OutOfMemoryError as error:
        raise click.ClickException(
            f"{sequence_options.device} is out of memory with batches of "
            f"{sequence_options.batch_size} videos; a smaller --batch-size, a smaller --input-size "
            "or --precision bf16 takes less"
        ) from error
    written = trainer.write_scores()
    if as_json:
        console.print_json({"run": str(sequence_options.folder), "epochs": trainer.run.rows})
        return
    listed = ", ".join(map(str, written))
    console.show(f"==> scores: {listed}" if written else "==> nothing to do: trained and scored")
    console.tell_next("recognize", sequence_options.folder / "scores" / "test.safetensors")


def _complete_joint(options: dict[str, Any], *, restart: bool) -> None:
    """Fill in the options of --stream joint: what is not typed is that of its two runs.

    A run that goes on has them in its own checkpoint; the two may be gone.
    """
    typed = console.typed_options()
    if options["stream"] != "joint":
        if strange := sorted(typed.intersection(OF_BOTH_STREAMS)):
            option = "from" if strange[0] == "start_from" else strange[0].replace("_", "-")
            raise click.UsageError(f"--{option} is for --stream joint.")
        params = click.get_current_context().command.params
        defaults = {p.name: p.default for p in params if p.name in OF_BOTH_STREAMS}
        changed = [key for key, value in defaults.items() if key and options[key] != value]
        console.tell_unused(changed, options, needed="--stream joint")
        options |= defaults | {"start_from": (), "auxiliary_loss": 0.0}
        return
    options["start_from"] = tuple(map(str, options["start_from"] or ()))
    if options["start_from"]:
        from twostream.models.checkpoint import has_checkpoint, read_spec_as
        from twostream.sequence.checkpoint import ONCE, SequenceNetworkSpec, read_starts

        open_keys = [
            key
            for key in ("backbone", "temporal", "frame_size", "input_size")
            if key not in typed and came_from_recipe(key)
        ]
        where = {key: options[key] for key in ("dataset", "stream", "name")}
        last = run_folder(options["runs"], **where) / "last"
        if has_checkpoint(last) and not restart:
            start = read_spec_as(SequenceNetworkSpec, last, command="train-sequence")
        else:
            alike = (*ONCE, "temporal") if "temporal" in open_keys else ONCE
            (_, start), _ = read_starts(options["start_from"], alike=alike)
        options |= {key: getattr(start, key) for key in open_keys}


def came_from_recipe(key: str) -> bool:
    """Whether an option that is not typed has the value of a recipe or its default."""
    files = click.get_current_context().meta.get(OPTION_FILES, {})
    return key not in files or files[key] in RECIPES.values()


def _print_start(trainer: SequenceTrainer) -> None:
    from twostream.sequence.lists import unknown_glosses

    options, data = trainer.options, trainer.data
    counts = ", ".join(f"{len(records):,} {subset}" for subset, records in data.lists.items())
    console.show(
        f"==> {options.folder}: {options.backbone}, {' -> '.join(options.temporal)}, "
        f"{len(data.vocabulary):,} glosses; {counts} videos ({len(data.missing):,} listed ones "
        f"missing), on {options.device} in {options.precision}"
    )
    if options.beam or options.normalise != "none":
        search = f"a beam search of width {options.beam}" if options.beam else "greedy decoding"
        rules = "" if options.normalise == "none" else f", cleaned up by {options.normalise}"
        console.show(f"==> error rates are those of {search}{rules}")
    if unknown := unknown_glosses([*data.lists["val"], *data.lists["test"]], data.vocabulary):
        console.show(
            f"==> {len(unknown):,} glosses of val and test are not in the training list and "
            "always count as errors"
        )
    if trainer.run.rows:
        console.show(f"==> resumed after {len(trainer.run.rows)} of {options.epochs} epochs")
