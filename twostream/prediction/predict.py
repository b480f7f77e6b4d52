"""Predicting videos with trained streams: video files in, classes with probabilities out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flow_extract.store.reader import read_header
from flow_extract.video.decode import VideoError
from flow_extract.video.find_videos import find_videos
from flow_extract.video.pictures import numbered_files
from fusion.evaluation.results import columns
from twostream.compute.device import Runtime
from twostream.data.stored import SOURCE_DIGITS
from twostream.prediction.networks import (
    FUSED,
    Networks,
    PredictOptions,
    load_networks,
    probabilities,
)
from twostream_base.errors import InputError
from twostream_base.files import why_address

PARTS = ("decode", "flow", "networks")


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


class Prediction(NamedTuple):
    """What the streams say of a video.

    Attributes:
        class_names: C of them.
        fused: probabilities (C,).
        streams: the same of each stream that was asked.
        lead: of the first class on the second, in the first stream alone.
        entry: the store file of the last stream asked.
        header: of that file.
        seconds: of each of `PARTS`, and `total`, the time that has gone by; what threads do side by
            side is added up.
        warnings: a line each.
    """

    class_names: tuple[str, ...]
    fused: np.ndarray
    streams: dict[str, np.ndarray]
    lead: float
    entry: Path
    header: Mapping[str, Any]
    seconds: dict[str, float]
    warnings: list[str]


def predict_video(video: Path, networks: Networks, *, work_dir: Path) -> Prediction:
    """Ask the streams, in their order, about a video.

    Args:
        work_dir: an empty folder for the store files of this video.

    Raises:
        VideoError: it gives no frames, or no flow.
    """
    start = time.perf_counter()
    seconds = dict.fromkeys(PARTS, 0.0)
    entry = work_dir

    def logits_of(key: str) -> NDArray[np.float32]:
        nonlocal entry
        stream, runtime = networks.streams[key], networks.runtime
        stored, spent = stream.extract(video, work_dir=work_dir, threads=runtime.threads)
        for part, value in spent.items():
            seconds[part] += value
        entry, begin = stored.path, time.perf_counter()
        logits = stream.logits(stored, runtime)
        seconds["networks"] += time.perf_counter() - begin
        return logits

    fusion, lead = networks.ask(logits_of)
    probs = {key: of_video[0] for key, of_video in probabilities(fusion).items()}
    return Prediction(
        class_names=fusion.table.class_names,
        fused=probs.pop(FUSED),
        streams=probs,
        lead=lead,
        entry=entry,
        header=read_header(entry),
        seconds={**seconds, "total": time.perf_counter() - start},
        warnings=fusion.warnings if len(probs) == len(networks.streams) else [],
    )


def predict_videos(
    videos: Mapping[str, Path],
    options: PredictOptions,
    runtime: Runtime,
    *,
    work_dir: Path,
    show: Callable[[str, Prediction], None] | None,
) -> dict[str, Any]:
    """Predict one video after the other; one that cannot be read is named, the rest is done.

    Args:
        videos: as results name them -> file or folder of pictures.
        work_dir: folder for frames and flow, of one video at a time.
        show: is called with each video's name and prediction while its store file is there.

    Returns:
        The result as JSON values.
    """
    networks = load_networks(options, runtime)
    rows, failed, sources = [], {}, {}
    bar = runtime.bar(videos.items(), total=len(videos), label="predict", unit="video")
    for name, video in bar:
        with TemporaryDirectory(dir=work_dir) as folder:
            try:
                prediction = predict_video(video, networks, work_dir=Path(folder))
            except VideoError as error:
                failed[name] = str(error)
                continue
            rows.append(result_row(name, prediction, top=options.top))
            sources[name] = str(prediction.header["source"].get("sha256") or "")[:SOURCE_DIGITS]
            if show:
                show(name, prediction)
    training_warnings = networks.training_warnings(sources)
    for row in rows:
        for key, text in training_warnings[row["video"]].items():
            if key in row["streams"]:
                row["warnings"].append(text)
                row.setdefault("seen_in_training", []).append(key)
    return {
        "streams": {stream: str(run) for stream, run in options.runs.items()},
        "strategy": options.steps.strategy,
        "protocol": networks.protocol,
        "cascade": options.cascade,
        "extraction": {key: stream.settings for key, stream in networks.streams.items()},
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
