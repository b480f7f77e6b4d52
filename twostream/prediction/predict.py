"""Predicting videos with trained streams: video files in, classes with probabilities out."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flow_extract.video.decode import VideoError
from flow_extract.video.find_videos import find_videos
from flow_extract.video.pictures import numbered_files
from fusion.combining.step import StepOptions, find_steps
from fusion.evaluation.results import columns
from twostream.compute.device import Runtime, no_bar
from twostream.data.protocols import find_protocol
from twostream.data.stored import SOURCE_DIGITS
from twostream.data.training_videos import RunVideo, find_seen
from twostream.models import network_protocol
from twostream.models.checkpoint import read_training_videos
from twostream.models.external_networks import ExternalNetwork
from twostream.models.probe import check_input_sizes
from twostream.prediction.predict_video import (
    Extraction,
    Prediction,
    Recipe,
    Stream,
    load_streams,
    predict_video,
)
from twostream_base.errors import InputError
from twostream_base.files import why_address
from twostream_base.video_names import without_suffix

Show = Callable[[str, Prediction], None]


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """The options of `twostream predict`."""

    runs: Mapping[str, Path | ExternalNetwork]  # by stream, in the order in which they are asked
    checkpoint: str
    protocol: str
    cascade: float | None
    steps: StepOptions
    extraction: Extraction
    top: int
    trust_plugins: bool = False


def find_inputs(paths: Sequence[str], *, work_dir: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Find the videos of files and folders: a folder of pictures, or all videos below one.

    Args:
        work_dir: folder in which their flow will be stored.

    Returns:
        Videos, as results name them -> file or folder of pictures; and those that cannot be used,
        likewise -> why not.

    Raises:
        InputError: no such file or folder, or a folder without videos.
    """
    videos: dict[str, Path] = {}
    unusable: dict[str, str] = {}
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found = find_videos(path, store=work_dir)
            refused = found.refused | found.skipped
            if not (found.videos or refused):
                if not numbered_files(path):
                    raise InputError(f"{path}: no videos in this folder or below it")
                videos[text] = path
            videos |= {str(video): video for video in found.videos.values()}
            unusable |= {str(path / name): reason for name, reason in refused.items()}
        elif path.exists():
            videos[text] = path
        else:
            reason = "no such file or folder; give videos, or folders of videos"
            raise InputError(f"{text}: {why_address(text) or reason}")
    return videos, unusable


class Networks(NamedTuple):
    """The trained networks of a prediction.

    Attributes:
        streams: by name, in the order in which they are asked.
        records: of `read_training_videos`, for each that is a run of ours.
    """

    streams: dict[str, Stream]
    recipe: Recipe
    records: dict[str, tuple[dict[str, Any], list[RunVideo]]]


def load_networks(
    options: PredictOptions, runtime: Runtime, *, shared: bool | None = None
) -> Networks:
    """Load all that a prediction needs but the videos: a damaged record costs no predictions.

    Args:
        shared: as `load_streams` takes it; by default not with a cascade, for which flow must not
            be computed before it is asked for.

    Raises:
        InputError: the runs do not fit each other, a network cannot take the views of the protocol,
            or an option does nothing.
    """
    if options.cascade is not None and len(options.runs) < 2:
        raise InputError(
            "--cascade needs two streams: the second is asked where the first is unsure"
        )
    streams = load_streams(
        options.runs,
        checkpoint=options.checkpoint,
        device=runtime.device,
        extraction=options.extraction,
        shared=options.cascade is None if shared is None else shared,
        trust_plugins=options.trust_plugins,
    )
    protocols = {
        key: network_protocol(
            options.protocol,
            model=stream.spec.model,
            num_segments=stream.spec.num_segments,
            frame_interval=stream.spec.frame_interval,
        )
        for key, stream in streams.items()
    }
    for key, stream in streams.items():
        check_input_sizes(
            stream.network, stream.spec, protocols=(protocols[key],), device=runtime.device
        )
    recipe = Recipe(
        protocols={key: find_protocol(name) for key, name in protocols.items()},
        steps=find_steps(
            options.steps,
            streams=list(options.runs),
            class_names=next(iter(streams.values())).spec.class_names,
        ),
        cascade=options.cascade,
        runtime=replace(runtime, bar=no_bar),
    )
    records = {
        key: read_training_videos(run / options.checkpoint)
        for key, run in options.runs.items()
        if isinstance(run, Path)
    }
    return Networks(streams, recipe, records)


def predict_videos(
    videos: Mapping[str, Path],
    options: PredictOptions,
    runtime: Runtime,
    *,
    work_dir: Path,
    show: Show | None,
) -> dict[str, Any]:
    """Predict one video after the other; one that cannot be read is named, the rest is done.

    Args:
        videos: as results name them -> file or folder of pictures.
        work_dir: folder for frames and flow, of one video at a time.
        show: is called with each video's name and prediction while its store file is there.

    Returns:
        The result as JSON values.

    Raises:
        InputError: as `load_networks`.
    """
    networks = load_networks(options, runtime)
    streams, recipe = networks.streams, networks.recipe
    rows, failed, sources = [], {}, {}
    bar = runtime.bar(videos.items(), total=len(videos), label="predict", unit="video")
    for name, video in bar:
        with TemporaryDirectory(dir=work_dir) as folder:
            try:
                prediction = predict_video(video, streams, recipe, work_dir=Path(folder))
            except VideoError as error:
                failed[name] = str(error)
                continue
            rows.append(result_row(name, prediction, top=options.top))
            sources[name] = str(prediction.header["source"].get("sha256") or "")[:SOURCE_DIGITS]
            if show:
                show(name, prediction)
    for key, (card, recorded) in networks.records.items():
        seen = seen_in_training(card, recorded, sources)
        for row in rows:
            if row["video"] in seen and key in row["streams"]:
                row["warnings"].append(f"the {key} network {seen[row['video']]}")
                row.setdefault("seen_in_training", []).append(key)
    return {
        "streams": {stream: str(run) for stream, run in options.runs.items()},
        "strategy": options.steps.strategy,
        "protocol": options.protocol,
        "cascade": options.cascade,
        "extraction": {key: stream.settings for key, stream in streams.items()},
        "videos": rows,
        "failed": failed,
    }


def result_row(name: str, prediction: Prediction, *, top: int) -> dict[str, Any]:
    """What was predicted of the video `name`, as JSON values; `top` classes."""
    header, class_names = prediction.header, prediction.class_names
    return {
        "video": name,
        "frames": header["counts"]["frames"],
        "damaged": header["reason"] if header["status"] == "damaged" else None,
        "top": highest(prediction.fused, class_names, top=top),
        "streams": {
            key: highest(probs, class_names, top=top) for key, probs in prediction.streams.items()
        },
        "lead": prediction.lead,
        "seconds": {part: round(value, 4) for part, value in prediction.seconds.items()},
        "warnings": [*prediction.warnings],
    }


def seen_in_training(
    card: Mapping[str, Any], recorded: Sequence[RunVideo], sources: Mapping[str, str]
) -> dict[str, str]:
    """What a network has done with those videos that it knows: `was trained on this video`.

    Args:
        card, recorded: of `read_training_videos`.
        sources: videos by their paths -> the first digits of the sha256 of their files. Where the
            record of the run is not at hand, videos are known by the ends of their paths.
    """
    by_file = any(video.source for video in recorded)
    asked: dict[str, list[str]] = defaultdict(list)  # a name to look for -> paths
    for path in sources:
        if by_file:
            asked[f"\0{path}"].append(path)  # the file alone tells: names begin with no NUL
        else:
            parts = PurePath(without_suffix(path)).parts
            for begin in range(len(parts)):
                asked["/".join(parts[begin:])].append(path)
    listed = [(name, sources[paths[0]] if by_file else "") for name, paths in asked.items()]
    seen = find_seen(listed, card=card, recorded=recorded)
    chose = {p: "chose its epoch by this video" for name in seen.selecting for p in asked[name]}
    return chose | {p: "was trained on this video" for name in seen.trained for p in asked[name]}


def highest(
    probs: NDArray[np.float64], class_names: Sequence[str], *, top: int
) -> list[dict[str, Any]]:
    """The `top` most probable classes, best first."""
    order = np.argsort(-probs, kind="stable")[:top]
    return [{"class": class_names[index], "probability": float(probs[index])} for index in order]


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """A row for each video, what is wrong with some, and the seconds."""
    rows = [
        (row["video"], *(f"{best['class']} {best['probability']:.1%}" for best in row["top"]))
        for row in result["videos"]
    ]
    notes = [
        f"warning: {row['video']}: {text}"
        for row in result["videos"]
        for text in (*([row["damaged"]] if row["damaged"] else []), *row["warnings"])
    ]
    failed = [f"{name}: {reason}" for name, reason in result["failed"].items()]
    videos = result["videos"]
    if not videos:
        return failed
    parts = ", ".join(
        f"{part} {statistics.fmean(row['seconds'][part] for row in videos):.2f}"
        for part in videos[0]["seconds"]
    )
    lines = [
        *columns(rows),
        *notes,
        *failed,
        f"{len(videos):,} predicted, {result['protocol']}; mean seconds: {parts}",
    ]
    if result["cascade"] is not None:
        asked = sum(len(row["streams"]) > 1 for row in videos)
        lines.append(f"all streams were asked about {asked:,} of {len(videos):,} videos")
    return lines
