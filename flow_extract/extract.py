"""One video: decode, resize, flow, quantise, encode, store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flow_extract.blobs import Blobs, collecting
from flow_extract.codecs import CODECS
from flow_extract.methods import FLOW_METHODS
from flow_extract.problems import problem_path, write_problem
from flow_extract.quantize import quantize
from flow_extract.settings import clip_flow, settings_hash
from flow_extract.store import entry_path
from flow_extract.store_writer import write_entry
from flow_extract.video import VideoError, probe, read_frames
from twostream.files import sha256_file
from twostream.plugins import load

# New frames that a flow method sees at one time, and pixels of them.
MAX_CHUNK = 16
CHUNK_PIXELS = 4_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """One video to extract.

    Attributes:
        name: of the video, and of its files in the store.
        video: the video file.
        source_path: its path below the video root, with suffix.
        store: the store.
        settings: of `settings.extraction_settings`.
    """

    name: str
    video: Path
    source_path: str
    store: Path
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """How a video came out.

    Attributes:
        name: of the video.
        status: `ok`; `damaged` (stored, but shorter than promised); `failed`, `crashed`, `timeout`
            (not stored); `unwritable` (the store's disk does not take it: no fault of the video).
        reason: one line; empty for `ok`.
    """

    name: str
    status: str
    reason: str = ""


def extract_video(job: Job) -> Result:
    """Extract one video into its store file, or leave a problem file that says why not.

    Runs in a process of its own: it sets OpenCV to one thread, as videos run side by side.
    """
    import cv2

    cv2.setNumThreads(1)
    try:
        try:
            result = _store_video(job)
        except VideoError as error:
            record_problem(job, status="failed", reason=str(error))
            return Result(job.name, "failed", str(error))
        problem_path(job.store, job.name).unlink(missing_ok=True)
        return result
    except OSError as error:
        return Result(job.name, "unwritable", str(error))


def record_problem(job: Job, *, status: str, reason: str) -> None:
    """Write the problem file of a job."""
    write_problem(
        job.store,
        job.name,
        status=status,
        reason=reason,
        source=source_facts(job.video, job.source_path),
        settings_hash=settings_hash(job.settings),
    )


def source_facts(video: Path, source_path: str) -> dict[str, Any]:
    """Path below the video root, size and time of change of a video, by which it is recognised."""
    try:
        status = video.stat()
    except OSError:
        return {"path": source_path, "size": None, "mtime_ns": None}
    return {"path": source_path, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def is_current(record: dict[str, Any], *, settings_hash: str, source: dict[str, Any]) -> bool:
    """Whether a store header or problem record is of these settings and of this very video file."""
    same_source = all(record["source"].get(key) == value for key, value in source.items())
    return record["settings_hash"] == settings_hash and same_source


def _store_video(job: Job) -> Result:
    source = source_facts(job.video, job.source_path)
    info = probe(job.video)
    path = entry_path(job.store, job.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with collecting(path.parent) as rgb, collecting(path.parent) as flow:
        height, width = _encode_video(job, rgb, flow)
        status, reason = _judge(len(rgb), info.promised_frames)
        header = job.settings | {
            "name": job.name,
            "status": status,
            "reason": reason,
            "settings_hash": settings_hash(job.settings),
            "size": {"width": width, "height": height},
            "fps": info.fps,
            "counts": {"promised": info.promised_frames},
            "source": source | {"sha256": _video_digest(job.video)},
            "decoder": _decoder_version(),
        }
        write_entry(job.store, header, rgb=rgb, flow=flow)
    return Result(job.name, status, reason)


def _encode_video(job: Job, rgb: Blobs, flow: Blobs) -> tuple[int, int]:
    """Fill `rgb` and `flow` in one pass over the video; return height and width of its pictures."""
    settings = job.settings
    codec, quality = CODECS[settings["codec"]], settings["quality"]
    method = load(settings["method"]["name"], FLOW_METHODS)(**settings["method"]["options"])
    size = (0, 0)
    for chunk in overlapping_chunks(read_frames(job.video, short_side=settings["short_side"])):
        size = chunk.shape[1:3]
        for frame in chunk[1:] if len(rgb) else chunk:
            rgb.append(codec.encode_rgb(frame, quality=quality))
        if len(chunk) > 1:
            pairs = quantize(clip_flow(method, chunk), bound=settings["quantiser"]["bound"])
            for pair in pairs:
                flow.append(codec.encode_flow(pair, quality=quality))
    return size


def overlapping_chunks(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Gather frames into clips (T, H, W, 3), each beginning with the last frame of the one before.

    A clip has up to `MAX_CHUNK` new frames, fewer of a large picture: memory stays bounded however
    long or large the video is. A single frame comes as a clip of one.
    """
    chunk: list[np.ndarray] = []
    fresh = 0
    for frame in frames:
        chunk.append(frame)
        fresh += 1
        if fresh >= np.clip(CHUNK_PIXELS // (frame.shape[0] * frame.shape[1]), 1, MAX_CHUNK):
            yield np.stack(chunk)
            chunk, fresh = [frame], 0
    if fresh:
        yield np.stack(chunk)


def _judge(frames: int, promised: int | None) -> tuple[str, str]:
    if promised is not None and frames < promised:
        return "damaged", f"{frames} of {promised} frames decoded"
    return "ok", ""


def _video_digest(video: Path) -> str:
    try:
        return sha256_file(video)
    except OSError as error:
        raise VideoError(f"cannot be read: {error.strerror}") from error


def _decoder_version() -> str:
    import cv2

    found = re.search(r"avcodec: +YES \(([\d.]+)\)", cv2.getBuildInformation())
    return f"FFmpeg avcodec {found[1]}" if found else "FFmpeg"
