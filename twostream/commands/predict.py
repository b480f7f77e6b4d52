"""`twostream predict`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from flow_extract.methods import FLOW_METHODS
from twostream.commands import console, score_options, shared_options
from twostream.commands.option_types import FOLDER, LENGTH_OF_TIME, OUT_FILE, OUT_FOLDER, PlugIn
from twostream_base.errors import InputError
from twostream_base.video_names import without_suffix

if TYPE_CHECKING:
    from fusion.tables.windows import Span
    from twostream.models.external_networks import ExternalNetwork
    from twostream.prediction.long_videos import LongPrediction
    from twostream.prediction.predict import Prediction

# In the order in which they are asked: flow, the costly part, last.
STREAMS = ("spatial", "difference", "motion", "joint")

network_options = console.section(
    "Network",
    click.option("--spatial", type=FOLDER, help="Run folder of the spatial stream."),
    click.option("--difference", type=FOLDER, help="Run folder of the RGB difference stream."),
    click.option("--motion", type=FOLDER, help="Run folder of the motion stream."),
    click.option("--joint", type=FOLDER, help="Run folder of both streams in one network."),
    click.option(
        "--weights",
        multiple=True,
        metavar="FILE|NAME|STREAM=W,...",
        help="Checkpoint of another tool, or one of `twostream weights`; repeatable, for another "
        "stream. Or weights for --strategy weighted, such as spatial=2,motion=1.",
    ),
    shared_options.class_names,
    shared_options.checkpoint,
    shared_options.protocol_or_default,
    click.option(
        "--cascade",
        type=click.FloatRange(0, 1),
        metavar="LEAD",
        help="Skip flow where the first stream is sure: where the probability of its first class "
        "exceeds that of its second by LEAD, from 0 to 1 (`tune --cascade` finds a value).",
    ),
)
window_options = console.section(
    "Long videos",
    click.option(
        "--window",
        type=LENGTH_OF_TIME,
        help="Predict each stretch of this length instead of the whole video: 2 (seconds) or 60f "
        "(frames). The default protocol is then `efficient`.",
    ),
    click.option(
        "--stride",
        type=LENGTH_OF_TIME,
        help="From the beginning of a window to that of the next.  [default: a quarter of "
        "--window]",
    ),
    click.option(
        "--scores",
        type=OUT_FOLDER,
        default="windows",
        help="Folder for the dense score files, windows.csv and events.csv of --window; what an "
        "interrupted command has left there is used.",
    ),
)
live_options = console.section(
    "Live",
    click.option(
        "--live",
        metavar="SOURCE",
        help="Instead of VIDEO: number of a camera, a file played in real time, or an address, "
        "udp://... or rtsp://.... Events go to standard output, a line of JSON each (with --json "
        "windows too); the state to standard error. A window is 2 seconds unless --window says "
        "otherwise.",
    ),
    click.option(
        "--record",
        type=OUT_FILE,
        help="Also write what comes from --live to this .mkv file; behind each loss of the source "
        "to another one, FILE-2.mkv and so on.",
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
        "middle frame). With --window the classes over time instead: .png, .svg, or beneath the "
        "film. For several videos, {name} stands for the name of each.",
    ),
)


@click.command(
    cls=console.Command,
    common=(
        "--spatial", "--difference", "--motion", "--weights", "--strategy", "--protocol",
        "--window", "--live", "--top", "--out", "--device", "--json",
    ),
    example="twostream predict clip.mp4 --weights tsm-r50-1x1x8-k400\n"
    "twostream predict clip.mp4 --spatial runs/ucf101-split1/spatial-resnet18 \\\n"
    "    --motion runs/ucf101-split1/motion-resnet18 --strategy variance --out clip.gif\n"
    "twostream predict film.mp4 --spatial runs/ucf101-split1/spatial-resnet18 \\\n"
    "    --motion runs/ucf101-split1/motion-resnet18 --window 2 --stride 0.5",
)  # fmt: skip
@click.argument("paths", nargs=-1, metavar="VIDEO...")
@network_options
@window_options
@live_options
@score_options.strategies_without_epochs
@extraction_options
@output_options
@shared_options.views_per_forward
@shared_options.compute
@console.trust_option
@console.quiet_option
@console.json_option
def predict(
    paths: tuple[str, ...],
    weights: tuple[str, ...],
    classes: Path | None,
    method: str | None,
    method_option: tuple[str, ...],
    short_side: int | None,
    checkpoint: str,
    protocol: str | None,
    cascade: float | None,
    window: Span | None,
    stride: Span | None,
    scores: Path,
    live: str | None,
    record: Path | None,
    top: int,
    out: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Recognise the action in each VIDEO: optical flow, the trained streams, and their fusion.

    VIDEO is a file, a folder of numbered pictures, or a folder (all videos below it). Frames and
    flow are made as for training. Without a training of your own, --weights names published
    networks: see `twostream weights`. With --window, long videos are predicted window by window in
    one pass; `twostream events` and `fuse` read the scores. With --live, a camera or a stream
    takes the place of VIDEO. Exit code 1: some videos could not be read; they are listed.
    """
    from fusion.combining.step import StepOptions
    from twostream.prediction import annotated, timeline
    from twostream.prediction.long_videos import (
        WindowOptions,
        alone_in,
        long_result_lines,
        predict_windows,
    )
    from twostream.prediction.networks import Extraction, PredictOptions
    from twostream.prediction.predict import find_inputs, predict_videos, result_lines

    if bool(paths) == (live is not None):
        raise InputError("give videos, or --live SOURCE, and not both")
    if live is not None and out:
        raise InputError(
            f"--out {out}: --live draws nothing; --record FILE.mkv writes what comes, and predict "
            "--window --out draws that"
        )
    if record and live is None:
        raise InputError(f"--record {record} writes what comes from --live SOURCE: give that too")
    # Before a checkpoint is fetched.
    folder = TemporaryDirectory(prefix="twostream-predict-")
    work_dir = Path(click.get_current_context().with_resource(folder))
    files, unusable = find_inputs(paths, work_dir=work_dir)
    # tune advises `--weights spatial=2,motion=1`, which is no file.
    of_streams = [text for text in weights if "=" in text and not Path(text).exists()]
    if len(of_streams) > 1:
        raise InputError(f"--weights {' and '.join(of_streams)}: give the streams' weights once")
    checkpoints = [text for text in weights if text not in of_streams]
    folders = {stream: options.pop(stream) for stream in STREAMS}
    networks: list[tuple[str, Path | ExternalNetwork]] = [
        (stream, run) for stream, run in folders.items() if run
    ]
    for network in shared_options.open_networks(checkpoints, classes, quiet=quiet or as_json):
        networks.append((network.spec.stream, network))
    runs = shared_options.by_stream(networks)
    runs = {stream: runs[stream] for stream in sorted(runs, key=STREAMS.index)}
    if not runs:
        raise InputError(
            "no network is given: name run folders by --spatial, --motion, or both, or published "
            "networks by --weights (`twostream weights` lists them)"
        )
    runtime = shared_options.read_runtime(options, bar=partial(console.progress, quiet=quiet))
    # Published video networks see a whole clip in each view; 19 of them take a CPU minutes.
    is_quick = bool(checkpoints or window or live is not None)
    settings = PredictOptions(
        runs=runs,
        checkpoint=checkpoint,
        protocol=protocol or ("efficient" if is_quick else "clips19"),
        cascade=cascade,
        steps=StepOptions(weights=next(iter(of_streams), None), **options),
        extraction=Extraction(method, method_option, short_side),
        top=top,
        trust_plugins=console.trusts_plugins(),
    )
    if live is not None:
        from fusion.tables.windows import Span
        from twostream.prediction.live import predict_live

        window = window or Span(2.0)
        predict_live(
            live,
            settings,
            runtime,
            window=window,
            stride=stride or window.quarter(),
            tell=lambda text: None if quiet else console.tell(text),
            write=console.print_line,
            every_window=as_json,
            record=record,
        )
        return
    if stride and not window:
        raise InputError(f"--stride {stride} is the step from window to window: give --window too")
    if window:
        named = score_names(paths, files)
        drawn = drawings(out, named, suffixes=timeline.SUFFIXES) if out else {}

        def draw(name: str, prediction: LongPrediction) -> None:
            timeline.draw_timeline(drawn[name], prediction, title=name)

        if cascade is not None:
            raise InputError(
                "--cascade saves the flow of whole videos and of --live; with --window one pass "
                "computes it for all windows: leave --cascade out"
            )
        windows = WindowOptions(window, stride or window.quarter(), scores)
        with alone_in(scores):
            result = predict_windows(
                named, settings, windows, runtime, tell=console.tell, show=draw if out else None
            )
        lines = long_result_lines(result)
    else:
        drawn = drawings(out, files, suffixes=annotated.SUFFIXES) if out else {}

        def show(name: str, prediction: Prediction) -> None:
            title = without_suffix(Path(name).name)
            annotated.draw_prediction(drawn[name], prediction, title=title)

        result = predict_videos(
            files, settings, runtime, work_dir=work_dir, show=show if out else None
        )
        lines = result_lines(result)
    result["failed"] = unusable | result["failed"]
    console.print_json(result) if as_json else console.show(*lines)
    if result["failed"]:
        click.get_current_context().exit(1)


def drawings(out: Path, names: Iterable[str], *, suffixes: Sequence[str]) -> dict[str, Path]:
    """The file that each video is drawn to.

    Raises:
        InputError: another suffix, or two videos with the same file.
    """
    if out.suffix.lower() not in suffixes:
        raise InputError(f"{out}: predictions are drawn to {', '.join(suffixes)} files")
    drawn = {
        name: Path(str(out).replace("{name}", without_suffix(Path(name).name))) for name in names
    }
    if len(set(drawn.values())) < len(drawn):
        raise InputError(
            f"--out {out}: {len(drawn):,} videos need a file each; write {{name}} where the name "
            "of the video belongs, and give videos of the same name one by one"
        )
    return drawn


def score_names(typed: Sequence[str], files: Mapping[str, Path]) -> dict[str, tuple[str, Path]]:
    """Names of videos for a score file -> what was typed, and the file.

    As in lists: the path below the folder that was typed, or the name of the file, without suffix.

    Raises:
        InputError: two videos have the same name.
    """
    folders = [Path(text) for text in typed if Path(text).is_dir()]
    named: dict[str, tuple[str, Path]] = {}
    for text, path in files.items():
        above = next((folder for folder in folders if folder in path.parents), path.parent)
        name = without_suffix(path.relative_to(above).as_posix())
        if name in named:
            raise InputError(
                f"{text} and {named[name][0]} are both called {name}; give the folder above them"
            )
        named[name] = text, path
    return named
