"""One video: decode, resize, flow, quantise, encode, store."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from flow_extract.methods import FLOW_METHODS
from flow_extract.methods.pairwise import ClipMethod
from flow_extract.store.codecs import CODECS
from flow_extract.store.manifest import problem_path, write_problem
from flow_extract.store.quantize import quantize
from flow_extract.store.reader import entry_path
from flow_extract.store.settings import clip_flow, settings_hash
from flow_extract.store.writer import Blobs, collecting, write_entry
from flow_extract.video.decode import VideoError, VideoInfo, probe, read_frames
from twostream_base.files import sha256_file
from twostream_base.plugins import load


@dataclass(frozen=True, slots=True)
class Job:
    """One video to extract.

    Attributes:
        name: of the video, and of its files in the store.
        video: the video file.
        source_path: its path below the video root, with suffix.
        store: the store.
        settings: of `settings.extraction_settings`; their method None: frames without flow.
        threads: that compute at one time; the result does not depend on it.
        deep: whether a store file counts as done only if the video's sha256 is still the same.
        retry_of: when the problem file was written (ns) that does not count as done; None: it does.
    """

    name: str
    video: Path
    source_path: str
    store: Path
    settings: dict[str, Any]
    threads: int = 1
    deep: bool = False
    retry_of: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """How a video came out.

    Attributes:
        name: of the video.
        status: `ok`; `damaged` (stored, but shorter than promised); `failed`, `crashed`, `timeout`
            (not stored); `unwritable` (the store's disk does not take it: no fault of the video);
            `busy` (another process is at it).
        reason: one line; empty for `ok`.
        settled: whether an earlier run or another process has found it, not this job.
        seconds: of a video that this job has stored: `decode` and `flow`, added over its threads.
    """

    name: str
    status: str
    reason: str = ""
    settled: bool = False
    seconds: dict[str, float] = field(default_factory=dict, compare=False)


class EncodedClip(NamedTuple):
    """What a clip adds to a store file.

    Attributes:
        size: height and width.
        rgb: encoded frames.
        flow: encoded pairs.
        clipped: flow vectors that the bound clips.
        flow_seconds: that the flow method took.
    """

    size: tuple[int, int]
    rgb: list[bytes]
    flow: list[bytes]
    clipped: int
    flow_seconds: float


def extract_video(job: Job) -> Result:
    """Extract one video into its store file, or leave a problem file that says why not.

    Runs in a process of its own: it sets OpenCV to one thread, as clips or videos run side by side.
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
        return unwritable(job, error)


def unwritable(job: Job, error: OSError) -> Result:
    """The result of a job whose store file cannot be written; the reason names a path."""
    where = error.filename or entry_path(job.store, job.name)
    return Result(job.name, "unwritable", f"{error.strerror or error}: {where}")


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
        (height, width), clipped, seconds = _encode_video(job, rgb, flow)
        status, reason = _judge(len(rgb), info)
        header = job.settings | {
            "name": job.name,
            "status": status,
            "reason": reason,
            "settings_hash": settings_hash(job.settings),
            "size": {"width": width, "height": height},
            "fps": info.fps,
            "counts": {"promised": info.promised_frames},
            "clipped_share": round(clipped / max(1, len(flow) * height * width), 8),
            "source": source | {"sha256": _video_digest(job.video)},
            "decoder": _decoder_version(),
        }
        write_entry(job.store, header, rgb=rgb, flow=flow)
    return Result(job.name, status, reason, seconds=seconds)


def _encode_video(
    job: Job, rgb: Blobs, flow: Blobs
) -> tuple[tuple[int, int], int, dict[str, float]]:
    """Fill `rgb` and `flow` in one pass over the video.

    Returns:
        Height and width of its pictures, how many of its flow vectors the bound clips, and
        `Result.seconds`.
    """
    method = make_method(job.settings) if job.settings["method"] else None
    encode = partial(encode_clip, method=method, settings=job.settings)
    seconds = {"decode": 0.0, "flow": 0.0}

    def clips() -> Iterator[np.ndarray]:
        chunks = overlapping_chunks(read_frames(job.video, short_side=job.settings["short_side"]))
        while True:
            began = time.perf_counter()
            clip = next(chunks, None)
            seconds["decode"] += time.perf_counter() - began
            if clip is None:
                return
            yield clip

    size, clipped = (0, 0), 0
    for clip in map_in_order(encode, enumerate(clips()), threads=job.threads):
        seconds["flow"] += clip.flow_seconds
        for blobs, fresh in ((rgb, clip.rgb), (flow, clip.flow)):
            for blob in fresh:
                blobs.append(blob)
        size, clipped = clip.size, clipped + clip.clipped
    return size, clipped, seconds


def make_method(settings: dict[str, Any]) -> ClipMethod:
    """The flow method of these settings, with its options."""
    return load(settings["method"]["name"], FLOW_METHODS)(**settings["method"]["options"])


def encode_clip(
    numbered: tuple[int, np.ndarray], *, method: ClipMethod | None, settings: dict[str, Any]
) -> EncodedClip:
    """Flow, quantise and encode a clip of `overlapping_chunks`, given with its number from 0.

    The first frame of all clips but number 0 has been encoded with the clip before.
    """
    number, frames = numbered
    codec, bound = CODECS[settings["codec"]], settings["quantiser"]["bound"]
    fresh = frames[1:] if number else frames
    rgb = [codec.encode_rgb(frame, quality=settings["quality"]) for frame in fresh]
    size = frames.shape[1:3]
    if len(frames) == 1 or method is None:
        return EncodedClip(size, rgb, [], 0, 0.0)
    began = time.perf_counter()
    flow = clip_flow(method, frames)
    flow_seconds = time.perf_counter() - began
    pairs = [
        codec.encode_flow(pair, quality=settings["quality"]) for pair in quantize(flow, bound=bound)
    ]
    return EncodedClip(size, rgb, pairs, count_clipped(flow, bound=bound), flow_seconds)


def count_clipped(flow: np.ndarray, *, bound: float) -> int:
    """How many vectors of flow (..., 2) have a component beyond +-bound pixels."""
    return int(np.count_nonzero(np.abs(flow).max(axis=-1) > bound))


def _judge(frames: int, info: VideoInfo) -> tuple[str, str]:
    if info.lacks(frames):
        about = "about " if info.estimated else ""
        return "damaged", f"{frames} of {about}{info.promised_frames} frames decoded"
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


# Frames in handy pieces, and work on several pieces at one time.
Item = TypeVar("Item")
Answer = TypeVar("Answer")

# New frames that a flow method sees at one time, and pixels of them.
MAX_CHUNK = 16
CHUNK_PIXELS = 4_000_000


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


def map_in_order(
    function: Callable[[Item], Answer], items: Iterable[Item], *, threads: int
) -> Iterator[Answer]:
    """Yield `function(item)` for each item, in their order, computed in up to `threads` threads.

    Items are taken one by one, as there is room; while one is made (a frame decoded), one thread
    less computes, so that never more than `threads` are busy.
    """
    if threads == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Answer]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
