"""`twostream predict`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from flow_extract.methods import FLOW_METHODS
from twostream.commands import console, score_options, shared_options
from twostream.commands.option_types import FOLDER, OUT_FILE, PlugIn
from twostream_base.errors import InputError
from twostream_base.video_names import without_suffix

if TYPE_CHECKING:
    from twostream.models.external_networks import ExternalNetwork
    from twostream.prediction.predict_video import Prediction

network_options = console.section(
    "Network",
    click.option("--spatial", type=FOLDER, help="Run folder of the spatial stream."),
    click.option("--difference", type=FOLDER, help="Run folder of the RGB difference stream."),
    click.option("--motion", type=FOLDER, help="Run folder of the motion stream."),
    click.option(
        "--weights",
        multiple=True,
        metavar="FILE|NAME|STREAM=W,...",
        help="Checkpoint of another tool, or one of `twostream weights`; repeatable, for another "
        "stream. Or weights for --strategy weighted, such as spatial=2,motion=1.",
    ),
    shared_options.class_names,
    shared_options.checkpoint,
    shared_options.protocol,
    click.option(
        "--cascade",
        type=click.FloatRange(0, 1),
        metavar="LEAD",
        help="Skip flow where the first stream is sure: where the probability of its first class "
        "exceeds that of its second by LEAD, from 0 to 1 (`tune --cascade` finds a value).",
    ),
)
extraction_options = console.section(
    "Optical flow",
    click.option(
        "--method",
        type=PlugIn(FLOW_METHODS),
        help="Optical flow method.  [default: as in training; with --weights tvl1]",
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
        help="Resize the short side of frames to this, pixels.  [default: as in training; "
        "with --weights 256]",
    ),
)
output_options = console.section(
    "Output",
    click.option(
        "--top", type=click.IntRange(1), default=3, help="Classes to show for each video."
    ),
    click.option(
        "--out",
        type=OUT_FILE,
        help="Also draw frames, flow and class bars into this file: .mp4, .gif, or .png (the "
        "middle frame). For several videos, {name} stands for the name of each.",
    ),
)


@click.command(
    cls=console.Command,
    common=(
        "--spatial", "--difference", "--motion", "--weights", "--strategy", "--protocol", "--top",
        "--out", "--device", "--json",
    ),
    example="twostream predict clip.mp4 --weights tsm-r50-1x1x8-k400\n"
    "twostream predict clip.mp4 --spatial runs/ucf101-split1/spatial-resnet18 \\\n"
    "    --motion runs/ucf101-split1/motion-resnet18 --strategy variance --out clip.gif",
)  # fmt: skip
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO...")
@network_options
@score_options.strategies_without_epochs
@extraction_options
@output_options
@shared_options.views_per_forward
@shared_options.compute
@console.trust_option
@console.quiet_option
@console.json_option
def predict(
    videos: tuple[str, ...],
    spatial: Path | None,
    difference: Path | None,
    motion: Path | None,
    weights: tuple[str, ...],
    classes: Path | None,
    method: str | None,
    method_option: tuple[str, ...],
    short_side: int | None,
    checkpoint: str,
    protocol: str,
    cascade: float | None,
    top: int,
    out: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Recognise the action in each VIDEO: optical flow, the trained streams, and their fusion.

    VIDEO is a file, a folder of numbered pictures, or a folder (all videos below it). Frames and
    flow are made as for training. Without a training of your own, --weights names published
    networks: see `twostream weights`. Exit code 1: some videos could not be read; they are listed.
    """
    from fusion.combining.step import StepOptions
    from twostream.prediction.annotated import check_suffix, draw_prediction
    from twostream.prediction.predict import (
        PredictOptions,
        find_inputs,
        predict_videos,
        result_lines,
    )
    from twostream.prediction.predict_video import Extraction

    # In the order in which they are asked: flow, the costly part, last.
    streams: dict[str, Path | ExternalNetwork | None]
    streams = {"spatial": spatial, "difference": difference, "motion": motion}
    # tune advises `--weights spatial=2,motion=1`, which is no file.
    of_streams = [text for text in weights if "=" in text and not Path(text).exists()]
    if len(of_streams) > 1:
        raise InputError(f"--weights {' and '.join(of_streams)}: give the streams' weights once")
    checkpoints = [text for text in weights if text not in of_streams]
    for network in shared_options.open_networks(checkpoints, classes, quiet=quiet or as_json):
        if streams[network.spec.stream]:
            raise InputError(
                f"two networks of the {network.spec.stream} stream are given, "
                f"{streams[network.spec.stream]} and {network}; give one of each stream"
            )
        streams[network.spec.stream] = network
    runs = {stream: run for stream, run in streams.items() if run}
    if not runs:
        raise InputError(
            "no network is given: name run folders by --spatial, --motion, or both, or published "
            "networks by --weights (`twostream weights` lists them)"
        )
    runtime = shared_options.read_runtime(options, bar=partial(console.progress, quiet=quiet))
    settings = PredictOptions(
        runs=runs,
        checkpoint=checkpoint,
        protocol=protocol,
        cascade=cascade,
        steps=StepOptions(weights=next(iter(of_streams), None), **options),
        extraction=Extraction(method, method_option, short_side),
        top=top,
        trust_plugins=console.trusts_plugins(),
    )
    with TemporaryDirectory(prefix="twostream-predict-") as folder:
        work_dir = Path(folder)
        files, unusable = find_inputs(videos, work_dir=work_dir)
        show = None
        if out:  # checked before any work is done
            check_suffix(out)
            titles = {name: without_suffix(Path(name).name) for name in files}
            drawn = {name: Path(str(out).replace("{name}", titles[name])) for name in files}
            if len(set(drawn.values())) < len(drawn):
                raise InputError(
                    f"--out {out}: {len(drawn):,} videos need a file each; write {{name}} where "
                    "the name of the video belongs, and give videos of the same name one by one"
                )

            def show(name: str, prediction: Prediction) -> None:
                draw_prediction(drawn[name], prediction, title=titles[name])

        result = predict_videos(files, settings, runtime, work_dir=work_dir, show=show)
    result["failed"] = unusable | result["failed"]
    console.print_json(result) if as_json else console.show(*result_lines(result))
    if result["failed"]:
        click.get_current_context().exit(1)
