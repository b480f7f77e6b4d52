"""The options of `twostream train`, by subject."""

from __future__ import annotations

from pathlib import Path

import click

from twostream.commands import console, shared_options
from twostream.commands.option_files import Recipe, recipes, show_recipe, take_defaults, take_stream
from twostream.commands.option_types import (
    COUNT_OR_AUTO,
    FRAME_SIZE,
    OUT_PATH,
    SHORT_SIDES,
    PlugIn,
    any_of,
    numbers,
)
from twostream.models import FORMS, MODELS, POINTS, TIMM
from twostream.models.consensus import CONSENSUS

recipe_options = console.section(
    "Recipe",
    click.option(
        "--recipe",
        type=Recipe(),
        is_eager=True,
        expose_value=False,
        callback=take_defaults,
        help=f"Take defaults from a recipe: {', '.join(recipes())}, or a file; options on the "
        "command line win.",
    ),
    shared_options.config,
    click.option(
        "--show-recipe",
        type=Recipe(),
        is_eager=True,
        expose_value=False,
        callback=show_recipe,
        help="Print a recipe and exit; its text is a starting point for your own.",
    ),
)

network_options = console.section(
    "Network",
    click.option(
        "--stream",
        required=True,
        is_eager=True,
        callback=take_stream,
        type=click.Choice(["spatial", "motion", "difference", "joint"]),
        help="What the network sees: RGB frames, stacks of 10 flow fields, 5 differences of "
        "neighbouring frames; or RGB and flow, by two networks that are joined in one.",
    ),
    click.option(
        "--model",
        type=PlugIn(MODELS, all_names="`twostream models`", library=TIMM),
        default="resnet18",
        help="Network, timm:NAME, or module:function; `twostream models` lists all.",
    ),
    click.option(
        "--model-option",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the network, such as last_stride=1 of I3D; repeatable.",
    ),
    click.option(
        "--weights",
        default="imagenet",
        metavar="NAME|FILE",
        help="Initial weights: imagenet, kinetics400 or none; a run's or another tool's file, or "
        "one of `twostream weights`, which decides the --model too.",
    ),
    click.option(
        "--input-size",
        type=click.IntRange(32),
        help="Side of the network's square input, pixels.  [default: by network, mostly 224]",
    ),
)

joint_options = console.section(
    "Both streams in one network",
    click.option(
        "--from",
        "start_from",
        nargs=2,
        type=OUT_PATH,  # a run that goes on does not need them any more
        metavar="SPATIAL MOTION",
        help="Trained runs of both streams, or files of their weights, that the network starts "
        "from; they decide --model and the snippets too.",
    ),
    click.option(
        "--fuse-at",
        type=click.Choice(POINTS),
        default="features",
        help="Where the streams are joined: behind a stage of two ResNets, or at the features that "
        "the classifier sees, of any networks.",
    ),
    click.option(
        "--fuse",
        type=PlugIn(dict.fromkeys(FORMS)),
        default="sum",
        help=f"How: {any_of(dict.fromkeys(FORMS))}; attention at the features alone. --fuse sum "
        "--fuse-at features is the late mean of both classifiers.",
    ),
    click.option(
        "--keep-both",
        is_flag=True,
        help="Behind a stage, let the flow network go on beside the joined one.",
    ),
    click.option(
        "--auxiliary-loss",
        type=click.FloatRange(0),
        default=0.0,
        show_default="off",
        metavar="WEIGHT",
        help="Add the losses of each stream by itself, with this weight.",
    ),
)

teacher_options = console.section(
    "Distillation",
    click.option(
        "--teacher",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="RUN",
        help="A run of --stream motion that --stream spatial learns from too; the result is of the "
        "stream `distilled`, and needs no flow to predict.",
    ),
    click.option(
        "--distill",
        type=click.Choice(["mars", "mers", "logits"]),
        default="mars",
        help="What is learnt from it: its features beside the labels (mars), its features, and by "
        "the classifier alone the labels (mers), or its logits beside the labels.",
    ),
    click.option(
        "--distill-weight",
        type=click.FloatRange(0),
        default=0.0,
        show_default="mars and mers 50, logits 1",
        help="How much the difference from the teacher counts beside the loss of the labels.",
    ),
    click.option(
        "--temperature",
        type=click.FloatRange(0),
        default=0.0,
        show_default="off: squared difference",
        help="Of --distill logits: compare probabilities of logits divided by this, such as 4.",
    ),
)

snippet_options = console.section(
    "Segments and snippets",
    click.option(
        "--segments",
        "num_segments",
        type=click.IntRange(1),
        default=3,
        help="Equal parts of a video; one random snippet is taken from each.",
    ),
    click.option(
        "--train-segment",
        type=click.IntRange(0),
        default=0,
        show_default="all",
        help="Train on one of the segments only, counted from 1.",
    ),
    click.option(
        "--clip-length",
        type=click.IntRange(1),
        help="Frames or flow fields of a snippet.  [default: by network and stream]",
    ),
    click.option(
        "--frame-interval",
        type=click.IntRange(0),
        help="Distance between the frames of a snippet; 0 spreads them over the whole video.  "
        "[default: by network and stream]",
    ),
    click.option(
        "--flow-stack",
        type=click.IntRange(1),
        help="Neighbouring flow fields at each time step of a network of clips, such as 5 of "
        "published TSMs; --clip-length counts them all.  [default: 1, or as --weights]",
    ),
    click.option(
        "--consensus",
        type=PlugIn(CONSENSUS),
        default="mean",
        help=f"How the segments become one prediction in training: {any_of(CONSENSUS)}.",
    ),
    click.option(
        "--consensus-option",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the consensus, such as k=2 of topk; repeatable.",
    ),
)

run_options = console.section(
    "Run",
    click.option(
        "--runs",
        cls=console.ProjectOption,
        required=True,
        type=OUT_PATH,
        help="Folder for the run folders.",
    ),
    click.option("--name", default="", help="Suffix of the run folder, after STREAM-MODEL."),
    click.option(
        "--epochs", type=click.IntRange(1), default=30, help="Passes over the training videos."
    ),
    shared_options.seed,
    shared_options.restart,
    click.option(
        "--save-every",
        type=click.FloatRange(0),
        default=600.0,
        help="Seconds between checkpoints within an epoch.",
    ),
    click.option(
        "--dry-run",
        is_flag=True,
        is_eager=True,
        help="Print the resolved options, videos, steps an epoch, clips, shapes and parameters, "
        "and end: nothing is trained or written. The store need not be there.",
    ),
    click.option(
        "--plot",
        is_flag=True,
        help="At the end, draw loss and top-1 by epoch, as wide as the terminal.",
    ),
    click.option(
        "--tensorboard", is_flag=True, help="Write curves for TensorBoard into the run folder."
    ),
)

schedule_options = console.section(
    "Schedule",
    click.option(
        "--optimizer",
        type=click.Choice(["sgd", "adamw"]),
        default="sgd",
        help="SGD with momentum, or AdamW.",
    ),
    click.option(
        "--lr",
        type=click.FloatRange(0, min_open=True),
        help="Initial learning rate.  [default: spatial 0.0005, joint 0.001, motion and difference "
        "0.01]",
    ),
    click.option(
        "--momentum",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.9,
        help="Momentum of SGD; beta1 of AdamW.",
    ),
    click.option("--nesterov", is_flag=True, help="Use Nesterov momentum."),
    click.option(
        "--weight-decay",
        type=click.FloatRange(0),
        default=0.0,
        help="Weight decay; not applied to biases and normalisation layers.",
    ),
    click.option(
        "--clip-norm",
        type=click.FloatRange(0),
        default=0.0,
        show_default="off",
        help="Clip the L2 norm of the whole gradient to this.",
    ),
    click.option(
        "--schedule",
        type=click.Choice(["plateau", "cosine", "steps"]),
        default="plateau",
        help="Learning rate: divided by 10 when the validation loss stops falling; half a cosine; "
        "or divided by 10 at each of the --milestones.",
    ),
    click.option(
        "--warmup",
        type=click.IntRange(0),
        default=0,
        help="Epochs over which the learning rate rises to --lr.",
    ),
    click.option(
        "--milestones",
        type=numbers("epochs", least=1),
        default="",
        metavar="N,N,...",
        help="Epochs for --schedule steps, counted from 0, such as 15,25.",
    ),
)

augmentation_options = console.section(
    "Augmentation",
    click.option(
        "--resize",
        type=FRAME_SIZE,
        default="",
        show_default="as stored",
        help="Scale all frames to this height and width before cropping, such as 256x320, also "
        "in scoring.",
    ),
    click.option(
        "--jitter",
        type=SHORT_SIDES,
        default="",
        metavar="LEAST,LARGEST",
        show_default="off",
        help="Short-side jitter: scale each clip to a random short side between the two, such as "
        "256,320, and cut a square of the input's size at random.",
    ),
    click.option(
        "--crop",
        type=click.Choice(["corners", "corners13", "random", "whole"]),
        show_default="corners; random with --jitter",
        help="Crop that is scaled to the input: corners or centre in several sizes; a square of "
        "the input's size anywhere; the whole frame.",
    ),
    click.option("--flip/--no-flip", default=True, help="Mirror a random half of the samples."),
    click.option(
        "--colour-jitter",
        type=click.FloatRange(0, 1),
        default=0.0,
        show_default="off",
        help="Vary brightness, contrast and saturation by factors of 1 +- X, such as 0.4.",
    ),
    click.option(
        "--rand-augment",
        type=click.FloatRange(0, 30),
        default=0.0,
        show_default="off",
        help="RandAugment: two random operations of this strength a sample, such as 9; on flow, "
        "geometric ones only.",
    ),
    click.option(
        "--mixup",
        type=click.FloatRange(0),
        default=0.0,
        show_default="off",
        metavar="ALPHA",
        help="Mixup with coefficients from Beta(ALPHA, ALPHA), such as 1.",
    ),
    click.option(
        "--cutmix",
        type=click.FloatRange(0),
        default=0.0,
        show_default="off",
        metavar="ALPHA",
        help="CutMix with area shares from Beta(ALPHA, ALPHA); with --mixup, one of the two is "
        "drawn for each batch.",
    ),
)

regularisation_options = console.section(
    "Regularisation",
    click.option(
        "--loss",
        default="cross-entropy",
        metavar="cross-entropy|focal[:GAMMA]",
        help="Training loss: cross-entropy, or the focal loss of that gamma (2), which counts less "
        "what is right already.",
    ),
    click.option(
        "--class-weights",
        default="",
        show_default="off",
        metavar="balanced|FILE",
        help="Weights of the classes in the training loss: the inverse of their number of videos, "
        "or a file of lines `class,weight`.",
    ),
    click.option(
        "--label-smoothing",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        help="Share of the target that is spread over all classes.",
    ),
    click.option(
        "--dropout",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        help="Dropout rate before the classifier.",
    ),
    click.option(
        "--partial-bn", is_flag=True, help="Freeze all batch normalisation layers but the first."
    ),
    click.option(
        "--freeze-bn",
        type=click.Choice(["off", "statistics", "all"]),
        is_flag=False,
        flag_value="statistics",
        default="off",
        metavar="[statistics|all]",
        help="All batch normalisation keeps its statistics, as in norm_eval of mmaction2 and the "
        "affine layers of non-local networks; with `all` also its scale and shift.",
    ),
    click.option(
        "--freeze-backbone", is_flag=True, help="Train only the classifier (linear probe)."
    ),
    click.option(
        "--cache-features",
        type=click.IntRange(0),
        default=0,
        show_default="off",
        metavar="N",
        help="With --freeze-backbone: take N random samples of each video and compute their "
        "features once; epoch N (they count from 0) and those after it see them again, and take "
        "seconds.",
    ),
    click.option(
        "--sync-bn",
        is_flag=True,
        help="Synchronise batch normalisation across the processes of torchrun; on GPUs only.",
    ),
    click.option(
        "--ema",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        show_default="off",
        help="Validate and keep an exponential moving average of the weights, of this decay, such "
        "as 0.999.",
    ),
)

validation_options = console.section(
    "Validation",
    click.option(
        "--select",
        type=click.Choice(["val", "test"]),
        default="val",
        help="Videos on which the best epoch is selected; a selection on test is recorded in "
        "every result.",
    ),
    click.option(
        "--select-by",
        type=click.Choice(["top1", "loss"]),
        default="top1",
        help="Select the highest top-1, or the lowest loss, which is steadier with few videos.",
    ),
    click.option(
        "--val-fraction",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.1,
        help="Share of the training videos held out for validation, in whole groups, where no list "
        "names the validation videos.",
    ),
    click.option(
        "--val-protocol",
        type=shared_options.ProtocolName(),
        default="segments3",
        help="Test protocol of the validation after each epoch; names as for --protocol.",
    ),
    click.option(
        "--val-every",
        type=click.IntRange(1),
        default=1,
        help="Validate after every N epochs, and after the last.",
    ),
    click.option(
        "--val-videos",
        type=click.IntRange(0),
        default=0,
        show_default="all",
        help="Validate on N videos only, the same share of each class.",
    ),
    click.option(
        "--val-loss",
        type=click.Choice(["mean", "sum"]),
        default="mean",
        help="Validation loss of the mean of a video's logits, or of their sum; the plateau "
        "schedule follows it.",
    ),
    click.option(
        "--protocol",
        type=shared_options.ProtocolName(),
        default="clips19",
        help=f"Test protocol of the score files: {shared_options.PROTOCOL_TEXTS}.",
    ),
)

memory_options = console.section(
    "Speed",
    click.option(
        "--batch-size",
        type=COUNT_OR_AUTO,
        help="Videos a step; auto: as many as fit into memory.  [default: spatial and joint 25, "
        "motion and difference 32]",
    ),
    click.option(
        "--accumulate",
        type=COUNT_OR_AUTO,
        default=1,
        help="Gradient-accumulation steps per batch; auto doubles them when memory runs out.",
    ),
    click.option(
        "--recompute",
        is_flag=True,
        help="Activation checkpointing: less memory for about a third more time.",
    ),
)

dump_scores_option = console.section(
    "Output",
    click.option(
        "--dump-scores",
        metavar="[last:N|all|off]",
        default="off",
        help="Also keep the scores of the last N epochs, for `fuse --epochs`.",
    ),
)


deterministic_option = console.section(
    "Speed",
    click.option(
        "--deterministic",
        is_flag=True,
        help="Only kernels that give the same bits in every run, also on a GPU; slower.",
    ),
)


def train_options(command: console.Decorated) -> console.Decorated:
    """All options of `train` but what it prints, in the order of the sections of its help."""
    for add in reversed((
        recipe_options,
        shared_options.data,
        network_options,
        joint_options,
        teacher_options,
        snippet_options,
        run_options,
        schedule_options,
        augmentation_options,
        regularisation_options,
        validation_options,
        memory_options,
        dump_scores_option,
        shared_options.compute,
        shared_options.compile_network,
        deterministic_option,
        console.trust_option,
    )):  # fmt: skip
        command = add(command)
    return command
