"""What extracting a folder will cost, from a few of its videos: nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from flow_extract.extraction.executor import available_cores
from flow_extract.extraction.one_video import count_clipped, encode_clip, make_method
from flow_extract.store.reader import entry_paths, read_header
from flow_extract.store.settings import clip_flow, settings_hash
from flow_extract.video.decode import VideoError, probe, read_frames, scaled_size
from twostream_base.errors import InputError

# Which bound the motion of a folder of videos needs (`--bound auto`).
CANDIDATES = (10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0)
# A bound may clip this share of the flow vectors.
CLIPPED_SHARE = 0.001
# Videos that are looked at, pairs of each, and frames at its beginning from which these are taken.
VIDEOS = 10
PAIRS_bound = 8
FRAMES = 300


@dataclass(frozen=True, slots=True)
class BoundChoice:
    """A bound and what led to it.

    Attributes:
        bound: pixels per frame.
        shares: candidate -> share of the flow vectors that it clips.
        pairs: frame pairs that were looked at.
    """

    bound: float
    shares: dict[float, float]
    pairs: int


def choose_bound(videos: Sequence[Path], settings: dict[str, Any]) -> BoundChoice:
    """The smallest candidate that clips at most `CLIPPED_SHARE` of the vectors of a few videos.

    The largest one if all clip more. Equal videos and settings give the same choice.

    Raises:
        InputError: none of the videos that were looked at has two frames.
    """
    method = make_method(settings)
    vectors, pairs = 0, 0
    clipped = dict.fromkeys(CANDIDATES, 0)
    with one_thread():
        for video in by_size(videos, VIDEOS):
            for pair in _some_pairs(video, short_side=settings["short_side"]):
                flow = clip_flow(method, pair)
                pairs, vectors = pairs + 1, vectors + flow[..., 0].size
                for bound in CANDIDATES:
                    clipped[bound] += count_clipped(flow, bound=bound)
    if not pairs:
        raise InputError("--bound auto: none of the videos that were tried has two frames")
    shares = {bound: count / vectors for bound, count in clipped.items()}
    wide_enough = (bound for bound, share in shares.items() if share <= CLIPPED_SHARE)
    return BoundChoice(next(wide_enough, CANDIDATES[-1]), shares, pairs)


def bound_of_store(store: Path, settings: dict[str, Any]) -> float | None:
    """The bound of a store that was made with these settings but for the bound, else None.

    A store that has been begun keeps its bound, although new videos may move more.
    """
    for path in entry_paths(store).values() if store.is_dir() else ():
        header = read_header(path)
        same = settings | {"quantiser": header["quantiser"]}
        bound: float = header["quantiser"]["bound"]
        return bound if settings_hash(same) == header["settings_hash"] else None
    return None


def _some_pairs(video: Path, *, short_side: int | None) -> list[np.ndarray]:
    """Pairs of neighbouring frames (2, H, W, 3), evenly spread; none of an unreadable video."""
    try:
        count = min(probe(video).promised_frames or FRAMES, FRAMES)
        wanted = set(np.linspace(0, max(0, count - 2), PAIRS_bound).round().astype(int).tolist())
        frames = islice(read_frames(video, short_side=short_side), count)
        return [np.stack(pair) for n, pair in enumerate(pairwise(frames)) if n in wanted]
    except VideoError:
        return []


# Videos whose header is read, videos that are timed, and frame pairs of each.
PROBED = 300
TIMED = 5
PAIRS = 8
# A method that needs longer for its first pair is judged by that.
PATIENCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Amount:
    """How much there is to do.

    Attributes:
        videos: number of videos.
        frames: of all videos; extrapolated by file size where not every header was read.
        pixels: frames times pixels of a frame, as they are stored.
        opening: seconds to open one video.
    """

    videos: int
    frames: int
    pixels: float
    opening: float


@dataclass(frozen=True, slots=True)
class Clip:
    """The beginning of a video: frames uint8 (T, H, W, 3), and seconds to decode one."""

    frames: np.ndarray
    decoding: float


def by_size(videos: Sequence[Path], count: int) -> list[Path]:
    """Up to `count` of the videos, evenly spread from the smallest to the largest file."""
    ordered = sorted(videos, key=lambda video: (video.stat().st_size, video))
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered)))
    return [ordered[round(place)] for place in places]


def measure_amount(videos: Sequence[Path], *, short_side: int | None) -> Amount:
    """Find out how many frames of which size there are; unreadable videos count for nothing.

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
        if info.promised_frames is not None:
            frames += info.promised_frames
            pixels += info.promised_frames * width * height
            size += video.stat().st_size
    opening = (time.perf_counter() - begin) / len(probed)
    if not frames:
        raise InputError(f"none of {len(probed)} videos that were tried can be read")
    unread = set(videos) - set(probed)
    whole = 1 + sum(video.stat().st_size for video in unread) / size
    return Amount(len(videos), round(frames * whole), pixels * whole, opening)


def first_clips(videos: Sequence[Path], *, short_side: int | None) -> list[Clip]:
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
            clips.append(Clip(np.stack([first, *rest]), decoding))
    if not clips:
        raise InputError("none of the videos that were tried has two frames; nothing can be timed")
    return clips


def estimate(
    settings: dict[str, Any], clips: Sequence[Clip], amount: Amount, *, threads: int
) -> dict[str, float | int]:
    """Hours, gigabytes and files for all videos.

    Args:
        settings: of `settings.extraction_settings`.
        clips: of `first_clips`.
        amount: of `measure_amount`.
        threads: busy at one time, in all jobs together; they are taken not to hinder each other.

    Returns:
        hours, gigabytes (10^9 bytes), files (with the manifest), milliseconds_per_frame (of one
        thread, everything included).
    """
    method = make_method(settings)
    seconds, size, pixels = 0.0, 0, 0
    with one_thread():
        for clip in clips:
            used, spent, stored = _timed(clip.frames, method, settings)
            seconds += spent + used * clip.decoding
            size += stored
            pixels += used * clip.frames[0, ..., 0].size
    work = amount.pixels * seconds / pixels + amount.videos * amount.opening
    return {
        "hours": work / threads / 3600,
        "gigabytes": amount.pixels * size / pixels / 1e9,
        "files": amount.videos + 1,
        "milliseconds_per_frame": 1000 * work / amount.frames,
    }


def estimate_methods(
    videos: Sequence[Path], settings: dict[str, dict[str, Any]], *, workers: int
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
    threads = jobs * max(1, available_cores() // jobs)
    rows = [
        {"method": name} | estimate(setting, clips, amount, threads=threads)
        for name, setting in settings.items()
    ]
    return {"videos": amount.videos, "frames": amount.frames, "jobs": jobs, "methods": rows}


@contextmanager
def one_thread() -> Iterator[None]:
    """Have OpenCV compute in one thread, as it does where videos run side by side."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _timed(frames: np.ndarray, method: Any, settings: dict[str, Any]) -> tuple[int, float, int]:
    """How many new frames were encoded with their flow, in how many seconds, to how many bytes."""
    for clip in (frames[:2], frames):  # the first also warms up what is compiled or loaded late
        begin = time.perf_counter()
        encoded = encode_clip((1, clip), method=method, settings=settings)
        seconds = time.perf_counter() - begin
        if seconds > PATIENCE_SECONDS:
            break
    size = sum(map(len, (*encoded.rgb, *encoded.flow)))
    return len(encoded.rgb), seconds, size
