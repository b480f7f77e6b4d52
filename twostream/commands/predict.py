"""`twostream predict`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from flow_extract.methods import FLOW_METHODS
from fusion.cli_options import single_strategy_options, taken
from twostream.commands.options import (
    FOLDER,
    compute_options,
    find_device,
    option_group,
    snippets_at_once_option,
)
from twostream.console import json_option, print_json, progress, quiet_option
from twostream.errors import InputError
from twostream.inference.protocols import PROTOCOLS
from twostream.plugins import PlugIn

if TYPE_CHECKING:
    from twostream.inference.predict import PredictOptions, Show
    from twostream.inference.video_inputs import VideoInputs

# In the order in which they are asked: flow, the costly part, last.
STREAMS = ("spatial", "difference", "motion")

network_options = option_group(
    click.option("--spatial", type=FOLDER, help="Run folder of the spatial stream."),
    click.option("--difference", type=FOLDER, help="Run folder of an RGB difference stream."),
    click.option("--motion", type=FOLDER, help="Run folder of the motion stream."),
    click.option(
        "--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True
    ),
    click.option(
        "--protocol",
        type=PlugIn(PROTOCOLS),
        default="clips19",
        show_default=True,
        help="Views of a video.",
    ),
    click.option(
        "--cascade",
        type=click.FloatRange(0, 1),
        metavar="LEAD",
        help="Let the first stream alone decide, without flow, where its first class leads by this "
        "(`tune --cascade` finds it).",
    ),
)
extraction_options = option_group(
    click.option("--method", type=PlugIn(FLOW_METHODS), help="Flow.  [default: as in training]"),
    click.option(
        "--method-option", multiple=True, metavar="KEY=VALUE", help="Option of it; repeatable."
    ),
    click.option(
        "--short-side", type=click.IntRange(1), help="Resize to this.  [default: as in training]"
    ),
)
output_options = option_group(
    click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Classes."),
    click.option(
        "--out",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Draw frames, flow and bars: .mp4, .gif, or .png (the middle frame). For several "
        "videos with {name} in it.",
    ),
    click.option(
        "--seconds",
        type=click.FloatRange(0, min_open=True),
        default=4.0,
        show_default=True,
        help="Of a recording by a camera.",
    ),
)


@click.command()
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO...")
@network_options
@single_strategy_options
@extraction_options
@output_options
@snippets_at_once_option
@compute_options
@quiet_option
@json_option
def predict(
    videos: tuple[str, ...], out: Path | None, quiet: bool, as_json: bool, **choices: Any
) -> None:
    """Say what happens in each VIDEO: flow on the fly, the trained streams, fusion.

    VIDEO is a file, a folder (all videos below it), or the number of a camera. Frames and flow are
    made as for training. Exit code 1: some videos could not be read; they are listed.

    \b
    twostream predict clip.mp4 --spatial runs/ucf101-split1/spatial-resnet18 \\
        --motion runs/ucf101-split1/motion-resnet18 --strategy variance --out clip.gif
    """
    from twostream.inference.predict import predict_videos
    from twostream.inference.prediction_result import result_lines
    from twostream.inference.video_inputs import find_inputs

    options = _options(choices)
    bar = partial(progress, label="predict", unit="video", quiet=quiet)
    with TemporaryDirectory(prefix="twostream-predict-") as folder:
        workplace = Path(folder)
        inputs = find_inputs(videos, workplace=workplace, seconds=choices["seconds"])
        show = _drawing(out, inputs) if out else None
        result = predict_videos(inputs, options, workplace=workplace, bar=bar, show=show)
    print_json(result) if as_json else click.echo("\n".join(result_lines(result)))
    if result["failed"]:
        click.get_current_context().exit(1)


def _options(choices: dict[str, Any]) -> PredictOptions:
    from fusion.options import StepOptions
    from twostream.inference.predict import PredictOptions
    from twostream.inference.streams import Extraction

    runs = {key: choices[key] for key in STREAMS if choices[key]}
    if not runs:
        raise InputError("no network is given: name run folders by --spatial, --motion, or both")
    return taken(
        choices
        | {
            "runs": runs,
            "steps": taken(choices, StepOptions),
            "extraction": taken(choices, Extraction),
            "device": find_device(choices["device"]),
        },
        PredictOptions,
    )


def _drawing(out: Path, inputs: VideoInputs) -> Show:
    """What draws a prediction to `out`, checked before any work is done."""
    from twostream.inference.annotated import check_suffix, draw_prediction

    check_suffix(out)
    paths = {name: Path(str(out).replace("{name}", Path(name).stem)) for name in inputs.videos}
    if len(set(paths.values())) < len(paths):
        raise InputError(
            f"--out {out}: {len(paths):,} videos need a file each; write {{name}} where the name "
            "of the video shall stand, and give videos of the same name one by one"
        )
    return lambda name, prediction: draw_prediction(paths[name], prediction, title=Path(name).stem)
