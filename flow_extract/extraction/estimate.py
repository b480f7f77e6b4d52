"""Estimates from a few videos of a folder: what extracting it will cost, and which bound it needs.

Nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flow_extract.extraction.executor import available_cores
from flow_extract.extraction.one_video import count_clipped, encode_frames
from flow_extract.extraction.settings import recorded_method
from flow_extract.store.header import settings_hash
from flow_extract.store.reader import entry_paths, read_header
from flow_extract.video.decode import probe, read_frames
from flow_extract.video.frames import VideoError, scaled_size
from flow_extract.video.pictures import identity
from twostream_base.errors import InputError

# Videos whose header is read, videos that are timed, and frame pairs of each.
PROBED = 300
TIMED = 5
PAIRS = 8
# A method that needs longer for its first pair is judged by that.
LONGEST_TRIAL_SECONDS = 0.5
# Bounds, in pixels per frame, and the share of the flow vectors that one may clip.
BOUNDS = (10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0)
CLIPPED_SHARE = 0.001
# For the bound: videos that are looked at, and frames at their beginning that pairs are taken from.
BOUND_VIDEOS = 10
BOUND_FRAMES = 300


@dataclass(frozen=True, slots=True)
class Amount:
    """How much there is to do."""

    videos: int
    frames: int  # of all videos; extrapolated by file size where not every header was read
    pixels: float  # frames times pixels of a frame, as they are stored
    opening: float  # seconds to open one video


@dataclass(frozen=True, slots=True)
class TimedClip:
    """The beginning of a video: frames uint8 (T, H, W, 3), and seconds to decode one."""

    frames: np.ndarray
    decoding: float


def by_size(videos: Sequence[Path], count: int) -> list[Path]:
    """Up to `count` of the videos, evenly spread from the smallest to the largest file."""
    ordered = sorted(videos, key=lambda video: (identity(video)["size"], video))
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered)))
    return [ordered[round(place)] for place in places]


def measure_amount(videos: Sequence[Path], *, short_side: int | None) -> Amount:
    """Count frames and pixels; unreadable videos count as nothing.

    Raises:
        InputError: no video that was tried can be read.
    """
    probed = by_size(videos, PROBED)
    frames, pixels, size = 0, 0, 0
    begin = time.perf_counter()
    for video in probed:
        try:
            info = probe(video)
        except VideoError:
            continue
        width, height = info.width, info.height
        if short_side is not None:
            width, height = scaled_size(width, height, short_side)
        if info.num_frames is not None:
            frames += info.num_frames
            pixels += info.num_frames * width * height
            size += identity(video)["size"]
    opening = (time.perf_counter() - begin) / len(probed)
    if not frames:
        raise InputError(f"none of {len(probed)} videos that were tried can be read")
    unread = set(videos) - set(probed)
    whole = 1 + sum(identity(video)["size"] for video in unread) / size
    return Amount(len(videos), round(frames * whole), pixels * whole, opening)


def first_clips(videos: Sequence[Path], *, short_side: int | None) -> list[TimedClip]:
    """The first frames of a few videos, spread over the file sizes; unreadable ones give none."""
    clips = []
    for video in by_size(videos, TIMED):
        try:
            stream = read_frames(video, short_side=short_side)
            first = next(stream)
            begin = time.perf_counter()
            rest = list(islice(stream, PAIRS))
            decoding = (time.perf_counter() - begin) / max(1, len(rest))
        except VideoError:
            continue
        if rest:
            clips.append(TimedClip(np.stack([first, *rest]), decoding))
    if not clips:
        raise InputError("none of the videos that were tried has two frames; nothing can be timed")
    return clips


def estimate(
    settings: dict[str, Any],
    clips: Sequence[TimedClip],
    amount: Amount,
    *,
    threads: int,
    device: str | None = None,
) -> dict[str, float | int]:
    """Hours, gigabytes and files for all videos.

    Args:
        threads: busy at one time, in all jobs together; assumed not to slow each other down.

    Returns:
        hours, gigabytes (10^9 bytes), files (with the manifest), milliseconds_per_frame (of one
        thread, everything included).
    """
    method = recorded_method(settings, device)
    seconds, size, pixels = 0.0, 0, 0
    with one_thread():
        for clip in clips:
            # The first two frames also warm up what is compiled or loaded late.
            for frames in (clip.frames[:2], clip.frames):
                begin = time.perf_counter()
                flow = method(frames) if method else None
                encoded = encode_frames(frames[1:], flow, settings=settings)
                spent = time.perf_counter() - begin
                if spent > LONGEST_TRIAL_SECONDS:
                    break
            seconds += spent + len(encoded.rgb) * clip.decoding
            size += sum(map(len, (*encoded.rgb, *encoded.flow)))
            pixels += len(encoded.rgb) * clip.frames[0, ..., 0].size
    work = amount.pixels * seconds / pixels + amount.videos * amount.opening
    return {
        "hours": work / threads / 3600,
        "gigabytes": amount.pixels * size / pixels / 1e9,
        "files": amount.videos + 1,
        "milliseconds_per_frame": 1000 * work / amount.frames,
    }


def estimate_methods(
    videos: Sequence[Path],
    settings: dict[str, dict[str, Any]],
    *,
    workers: int,
    device: str | None = None,
) -> dict[str, Any]:
    """The plan for a folder: `estimate` for each of several settings, by the name of the method.

    All of them have the same `short_side`.

    Returns:
        videos, frames, jobs, and methods: a list of what `estimate` gives, with the method's name.
    """
    short_side = next(iter(settings.values()))["short_side"] if settings else None
    amount = measure_amount(videos, short_side=short_side)
    clips = first_clips(videos, short_side=short_side)
    jobs = max(1, min(workers, len(videos)))
    threads = jobs * max(1, available_cores() // jobs) if device in (None, "cpu") else 1
    rows = [
        {"method": name} | estimate(setting, clips, amount, threads=threads, device=device)
        for name, setting in settings.items()
    ]
    return {"videos": amount.videos, "frames": amount.frames, "jobs": jobs, "methods": rows}


@contextmanager
def one_thread() -> Iterator[None]:
    """Have OpenCV compute in one thread, as it does where videos run side by side."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@dataclass(frozen=True, slots=True)
class BoundChoice:
    """A bound and what led to it."""

    bound: float  # pixels per frame
    shares: dict[float, float]  # bound -> share of the flow vectors that it clips
    pairs: int  # that were looked at


def choose_bound(
    videos: Sequence[Path], settings: dict[str, Any], *, device: str | None = None
) -> BoundChoice:
    """The smallest of `BOUNDS` that clips at most `CLIPPED_SHARE` of the vectors of a few videos.

    The largest one if all clip more. Equal videos and settings give the same choice.

    Raises:
        InputError: none of the videos that were looked at has two frames.
    """
    method = recorded_method(settings, device)
    assert method is not None
    vectors, pairs = 0, 0
    clipped = dict.fromkeys(BOUNDS, 0)
    with one_thread():
        for video in by_size(videos, BOUND_VIDEOS):
            try:
                count = min(probe(video).num_frames or BOUND_FRAMES, BOUND_FRAMES)
                places = np.linspace(0, max(0, count - 2), PAIRS).round().astype(int).tolist()
                frames = islice(
                    read_frames(
                        video,
                        short_side=settings["short_side"],
                        drop_repeated=settings.get("drop_repeated", False),
                    ),
                    count,
                )
                clips = [np.stack(pair) for n, pair in enumerate(pairwise(frames)) if n in places]
            except VideoError:
                continue
            for clip in clips:
                flow = method(clip)
                pairs, vectors = pairs + 1, vectors + flow[..., 0].size
                for bound in BOUNDS:
                    clipped[bound] += count_clipped(flow, bound=bound)
    if not pairs:
        raise InputError("--bound auto: none of the videos that were tried has two frames")
    shares = {bound: count / vectors for bound, count in clipped.items()}
    wide_enough = (bound for bound, share in shares.items() if share <= CLIPPED_SHARE)
    return BoundChoice(next(wide_enough, BOUNDS[-1]), shares, pairs)


def bound_of_store(store: Path, settings: dict[str, Any]) -> float | None:
    """The bound of a store that was made with these settings but for the bound, else None.

    A store that has been begun keeps its bound, although new videos may move more.
    """
    for path in entry_paths(store).values() if store.is_dir() else ():
        try:
            header = read_header(path)
        except InputError:  # extraction makes it anew
            continue
        if header["method"] is None:  # frames alone have no bound
            continue
        same = settings | {"quantiser": header["quantiser"]}
        bound: float = header["quantiser"]["bound"]
        return bound if settings_hash(same) == header["settings_hash"] else None
    return None
