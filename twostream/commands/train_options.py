"""The options of `twostream train`, by subject."""

from __future__ import annotations

from pathlib import Path

import click

from twostream.commands.option_files import Recipe, show_recipe, take_defaults, take_stream
from twostream.commands.option_types import CountOrAuto, Epochs, FrameSize
from twostream.commands.options import option_group
from twostream.console import ProjectOption
from twostream.inference.protocols import PROTOCOLS
from twostream.models import MODELS
from twostream.models.consensus import CONSENSUS
from twostream.plugins import PlugIn

file_options = option_group(
    click.option(
        "--recipe",
        type=Recipe(),
        is_eager=True,
        expose_value=False,
        callback=take_defaults,
        help="Take defaults from a recipe; options given here win.",
    ),
    click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=take_defaults,
        help="Take defaults from a TOML file, such as the config.toml of a run.",
    ),
    click.option(
        "--show-recipe",
        type=Recipe(),
        is_eager=True,
        expose_value=False,
        callback=show_recipe,
        help="Print a recipe, to make one's own of it.",
    ),
)

network_options = option_group(
    click.option(
        "--stream",
        required=True,
        is_eager=True,
        callback=take_stream,
        type=click.Choice(["spatial", "motion", "difference"]),
        help="RGB frames, stacks of 10 flow pairs, or 5 differences of neighbouring frames.",
    ),
    click.option("--model", type=PlugIn(MODELS), default="resnet18", show_default=True),
    click.option(
        "--model-option",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the network, such as last_stride=1 of I3D; repeat for more.",
    ),
    click.option(
        "--clip-length",
        type=click.IntRange(1),
        help="Frames or flow pairs of a snippet.  [as the network and the stream have it]",
    ),
    click.option(
        "--frame-interval",
        type=click.IntRange(0),
        help="From one of them to the next; 0 spreads them over the video.  [likewise]",
    ),
    click.option(
        "--resize",
        type=FrameSize(),
        default="",
        show_default="as stored",
        help="Scale frames to this size before they are cropped, such as 256x320.",
    ),
    click.option(
        "--weights",
        default="imagenet",
        show_default=True,
        help="Start from: imagenet, none, or a FILE of the model's state dict.",
    ),
    click.option(
        "--segments",
        "num_segments",
        type=click.IntRange(1),
        default=3,
        show_default=True,
        help="Parts of a video, one random snippet from each.",
    ),
    click.option(
        "--train-segment",
        type=click.IntRange(0),
        default=0,
        show_default="all",
        help="Learn from this one of the segments alone, from 1.",
    ),
    click.option(
        "--consensus",
        type=PlugIn(CONSENSUS),
        default="mean",
        show_default=True,
        help="How segments become one prediction while training.",
    ),
    click.option(
        "--consensus-option",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the consensus, such as k=2 of topk; repeat for more.",
    ),
    click.option(
        "--input-size",
        type=click.IntRange(32),
        default=224,
        show_default=True,
        help="Side of the network's input, pixels.",
    ),
)

run_options = option_group(
    click.option(
        "--runs",
        cls=ProjectOption,
        required=True,
        type=click.Path(path_type=Path),
        help="Folder of the run folders.",
    ),
    click.option("--name", default="", help="Added to the name of the run folder, STREAM-MODEL."),
    click.option("--epochs", type=click.IntRange(1), default=30, show_default=True),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True),
    click.option(
        "--save-every",
        type=click.FloatRange(0),
        default=600.0,
        show_default=True,
        help="Seconds between checkpoints within an epoch.",
    ),
    click.option(
        "--tensorboard", is_flag=True, help="Write curves for TensorBoard into the run folder."
    ),
)

optimisation_options = option_group(
    click.option(
        "--batch-size",
        type=CountOrAuto(),
        help="Videos, or auto: as many at once as memory allows.  [spatial 25, motion 32]",
    ),
    click.option(
        "--accumulate",
        type=CountOrAuto(),
        default=1,
        show_default=True,
        help="Parts in which a batch goes through the network, to save memory; auto doubles them "
        "whenever memory is short.",
    ),
    click.option(
        "--recompute",
        is_flag=True,
        help="Keep less for the gradient and compute it again: less memory, a third more time.",
    ),
    click.option(
        "--optimizer", type=click.Choice(["sgd", "adamw"]), default="sgd", show_default=True
    ),
    click.option(
        "--lr",
        type=click.FloatRange(0, min_open=True),
        help="Learning rate at the start.  [spatial 0.0005, motion 0.01]",
    ),
    click.option(
        "--momentum", type=click.FloatRange(0, 1, max_open=True), default=0.9, show_default=True
    ),
    click.option("--nesterov", is_flag=True, help="Nesterov's form of momentum."),
    click.option(
        "--weight-decay",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="Of filters and matrices; biases and norms do not decay.",
    ),
    click.option(
        "--clip-norm",
        type=click.FloatRange(0),
        default=0.0,
        show_default="off",
        help="Scale gradients down to this norm (L2, of all together).",
    ),
    click.option(
        "--schedule",
        type=click.Choice(["plateau", "cosine", "steps"]),
        default="plateau",
        show_default=True,
        help="How the rate falls: by 10 when the validation loss stays; as half a cosine; by 10 at "
        "each of the --milestones.",
    ),
    click.option(
        "--warmup",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Epochs in which the rate rises to --lr.",
    ),
    click.option("--milestones", type=Epochs(), default="", help="Epochs, from 0, such as 15,25."),
)

regularisation_options = option_group(
    click.option(
        "--crop",
        type=click.Choice(["corners", "random", "whole"]),
        default="corners",
        show_default=True,
        help="Part of the frame that is scaled to the input in training: corners or centre in "
        "several sizes; a square of the input's size anywhere; the whole frame.",
    ),
    click.option(
        "--flip/--no-flip", default=True, show_default=True, help="Mirror half of the samples."
    ),
    click.option(
        "--colour-jitter",
        type=click.FloatRange(0, 1),
        default=0.0,
        show_default="off",
        help="How far brightness, contrast and saturation vary around 1, such as 0.4.",
    ),
    click.option(
        "--rand-augment",
        type=click.FloatRange(0, 30),
        default=0.0,
        show_default="off",
        help="Two random operations of this strength a sample, such as 9; flow is only moved.",
    ),
    click.option(
        "--mixup",
        type=click.FloatRange(0),
        default=0.0,
        show_default="off",
        help="Lay pairs of videos over each other, by shares of Beta(ALPHA, ALPHA), such as 1.",
        metavar="ALPHA",
    ),
    click.option(
        "--cutmix",
        type=click.FloatRange(0),
        default=0.0,
        show_default="off",
        help="Paste a box of one video into another, by such shares; with --mixup, either.",
        metavar="ALPHA",
    ),
    click.option(
        "--label-smoothing",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        show_default=True,
        help="Part of the target that is spread over all classes.",
    ),
    click.option(
        "--dropout",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        show_default=True,
        help="Rate at which inputs of the classifier are dropped in training.",
    ),
    click.option(
        "--partial-bn", is_flag=True, help="Freeze every batch normalisation but the first."
    ),
    click.option(
        "--freeze-backbone",
        is_flag=True,
        help="Learn the classifier alone, on what the starting weights see.",
    ),
    click.option(
        "--sync-bn",
        is_flag=True,
        help="Batch normalisation over the whole batch, not each process's share (torchrun, GPUs).",
    ),
    click.option(
        "--ema",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        show_default="off",
        help="Validate and keep a running average of the weights with this decay, such as 0.999.",
    ),
)

validation_options = option_group(
    click.option(
        "--select",
        type=click.Choice(["val", "test"]),
        default="val",
        show_default=True,
        help="Videos that select the epoch. Selecting on test is written into every result.",
    ),
    click.option(
        "--select-by",
        type=click.Choice(["top1", "loss"]),
        default="top1",
        show_default=True,
        help="The highest top-1, or the lowest loss; the latter is steadier with few videos.",
    ),
    click.option(
        "--val-fraction",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.1,
        show_default=True,
        help="Held out of the training list, in groups.",
    ),
    click.option(
        "--val-protocol",
        type=PlugIn(PROTOCOLS),
        default="segments3",
        show_default=True,
        help="Views of a video after each epoch.",
    ),
    click.option(
        "--val-every",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Validate after every so many epochs, and after the last.",
    ),
    click.option(
        "--val-videos",
        type=click.IntRange(0),
        default=0,
        show_default="all",
        help="Validate on so many of the videos after an epoch, as many of each class.",
    ),
    click.option(
        "--val-loss",
        type=click.Choice(["mean", "sum"]),
        default="mean",
        show_default=True,
        help="Validation loss, which the plateau follows: of the mean of a video's logits, or of "
        "their sum.",
    ),
    click.option(
        "--protocol",
        type=PlugIn(PROTOCOLS),
        default="clips19",
        show_default=True,
        help="Views of a video in the score files.",
    ),
)
