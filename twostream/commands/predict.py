"""`twostream predict`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from flow_extract.methods import FLOW_METHODS
from twostream.commands.console import (
    Command,
    json_option,
    print_json,
    progress,
    quiet_option,
    section,
)
from twostream.commands.option_types import FOLDER, OUT_FILE, PlugIn, any_of
from twostream.commands.options import (
    checkpoint_option,
    compute_options,
    find_device,
    views_per_forward_option,
)
from twostream.commands.score_options import single_strategy_options, taken
from twostream.data.protocols import PROTOCOLS
from twostream_base.errors import InputError

if TYPE_CHECKING:
    from twostream.prediction.predict import PredictOptions, Show, VideoInputs

# In the order in which they are asked: flow, the costly part, last.
STREAMS = ("spatial", "difference", "motion")

network_options = section(
    "Network",
    click.option("--spatial", type=FOLDER, help="Run folder of the spatial stream."),
    click.option("--difference", type=FOLDER, help="Run folder of the RGB difference stream."),
    click.option("--motion", type=FOLDER, help="Run folder of the motion stream."),
    checkpoint_option,
    click.option(
        "--protocol",
        type=PlugIn(PROTOCOLS),
        default="clips19",
        show_default=True,
        help=f"Test protocol: {any_of(PROTOCOLS)}.",
    ),
    click.option(
        "--cascade",
        type=click.FloatRange(0, 1),
        metavar="LEAD",
        help="Skip flow where the first stream is sure: where the probability of its first class "
        "exceeds that of its second by LEAD, from 0 to 1 (`tune --cascade` finds a value).",
    ),
)
extraction_options = section(
    "Optical flow",
    click.option(
        "--method",
        type=PlugIn(FLOW_METHODS),
        help="Optical flow method.  [default: as in training]",
    ),
    click.option(
        "--method-option",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the flow method, such as preset=fast; repeatable.",
    ),
    click.option(
        "--short-side",
        type=click.IntRange(1),
        help="Resize the short side of frames to this, pixels.  [default: as in training]",
    ),
)
output_options = section(
    "Output",
    click.option(
        "--top",
        type=click.IntRange(1),
        default=3,
        show_default=True,
        help="Classes to show for each video.",
    ),
    click.option(
        "--out",
        type=OUT_FILE,
        help="Also draw frames, flow and class bars into this file: .mp4, .gif, or .png (the "
        "middle frame). For several videos, {name} stands for the name of each.",
    ),
)


@click.command(
    cls=Command,
    common=(
        "--spatial", "--difference", "--motion", "--strategy", "--weights", "--protocol", "--top",
        "--out", "--device", "--json",
    ),
    example="twostream predict clip.mp4 --spatial runs/ucf101-split1/spatial-resnet18 \\\n"
    "    --motion runs/ucf101-split1/motion-resnet18 --strategy variance --out clip.gif",
)  # fmt: skip
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO...")
@network_options
@single_strategy_options
@extraction_options
@output_options
@views_per_forward_option
@compute_options
@quiet_option
@json_option
def predict(
    videos: tuple[str, ...], out: Path | None, quiet: bool, as_json: bool, **choices: Any
) -> None:
    """Recognise the action in each VIDEO: optical flow, the trained streams, and their fusion.

    VIDEO is a file, or a folder (all videos below it). Frames and flow are made as for training.
    Exit code 1: some videos could not be read; they are listed.
    """
    from twostream.prediction.predict import find_inputs, predict_videos, result_lines

    options = _options(choices)
    bar = partial(progress, label="predict", unit="video", quiet=quiet)
    with TemporaryDirectory(prefix="twostream-predict-") as folder:
        work_dir = Path(folder)
        inputs = find_inputs(videos, work_dir=work_dir)
        show = _drawing(out, inputs) if out else None
        result = predict_videos(inputs, options, work_dir=work_dir, bar=bar, show=show)
    print_json(result) if as_json else click.echo("\n".join(result_lines(result)))
    if result["failed"]:
        click.get_current_context().exit(1)


def _options(choices: dict[str, Any]) -> PredictOptions:
    from fusion.combining.options import StepOptions
    from twostream.prediction.predict import PredictOptions
    from twostream.prediction.streams import Extraction

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
    from twostream.prediction.annotated import check_suffix, draw_prediction

    check_suffix(out)
    paths = {name: Path(str(out).replace("{name}", Path(name).stem)) for name in inputs.videos}
    if len(set(paths.values())) < len(paths):
        raise InputError(
            f"--out {out}: {len(paths):,} videos need a file each; write {{name}} where the name "
            "of the video shall stand, and give videos of the same name one by one"
        )
    return lambda name, prediction: draw_prediction(paths[name], prediction, title=Path(name).stem)
