"""One video: decode, resize, flow, quantise, encode, store."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar, cast

import cv2
import numpy as np

from flow_extract.extraction.settings import flow_method, recorded_method
from flow_extract.methods.pairwise import ClipMethod
from flow_extract.store.codecs import CODECS, quantize
from flow_extract.store.header import Source, make_header, settings_hash
from flow_extract.store.manifest import write_problem
from flow_extract.store.reader import SUFFIX, StoreEntry, entry_path
from flow_extract.store.writer import EntryWriter
from flow_extract.video.decode import VideoError, open_video, read_frames
from flow_extract.video.pictures import content_sha256, identity
from twostream_base.errors import InputError
from twostream_base.heartbeat import beat
from twostream_base.plugins import trust

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# New frames that a flow method sees at one time, and pixels of them.
MAX_CHUNK = 16
CHUNK_PIXELS = 4_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """One video to extract.

    Attributes:
        name: of the video, and of its files in the store.
        video: the video file, or folder of pictures.
        source_path: its path below the video root, with suffix.
        store: the store.
        settings: of `settings.extraction_settings`; their method None: frames without flow.
        threads: that compute at one time; the result does not depend on it.
        device: where flow is computed, for a method that has a choice.
        verify_checksum: whether a store file is up to date only if the video's sha256 is still the
            same; else path, size and time of change are enough.
        ignore_problem_from: when the problem file was written (ns) that is to be tried again.
        moved_from: a name whose store file may be of this very video, which was renamed.
    """

    name: str
    video: Path
    source_path: str
    store: Path
    settings: dict[str, Any]
    threads: int = 1
    device: str | None = None
    verify_checksum: bool = False
    ignore_problem_from: int | None = None
    moved_from: str | None = None

    def path(self, suffix: str = SUFFIX) -> Path:
        """Where its store file is, or would be; or by that suffix its problem file."""
        return entry_path(self.store, self.name, suffix)

    def source(self) -> Source:
        """By what its video is recognised, as it is now."""
        source: dict[str, Any] = {"path": self.source_path, "size": None, "mtime_ns": None}
        with suppress(OSError):
            source |= identity(self.video)
        return cast(Source, source)


@dataclass(frozen=True, slots=True)
class Result:
    """How a video came out.

    Attributes:
        name: of the video.
        status: `ok`; `damaged` (stored, but shorter than promised); `failed`, `crashed`, `timeout`
            (not stored); `unwritable` (the disk of the store does not take it: no fault of the
            video); `busy` (another process works on it).
        reason: one line; empty for `ok`.
        reused: whether an earlier run or another process had done it, not this job.
        seconds: of a video that this job has stored: `decode` and `flow`, added over its threads.
        frames: that are stored.
        repeated: frames of the video that repeat the one before, stored or not.
        moved_from: the name under which it was stored already.
    """

    name: str
    status: str
    reason: str = ""
    reused: bool = False
    seconds: dict[str, float] = field(default_factory=dict, compare=False)
    frames: int = field(default=0, compare=False)
    repeated: int = field(default=0, compare=False)
    moved_from: str = field(default="", compare=False)


def count_results(results: Collection[Result]) -> dict[str, int]:
    """How many videos there are, and in which of four ways they came out."""
    done = [result.reused for result in results if result.status == "ok"]
    damaged = sum(result.status == "damaged" for result in results)
    return {
        "videos": len(results),
        "done_now": done.count(False),
        "already_done": done.count(True),
        "damaged": damaged,
        "failed": len(results) - len(done) - damaged,
    }


class EncodedClip(NamedTuple):
    """What a clip adds to a store file."""

    size: tuple[int, int]  # height and width
    rgb: list[bytes]  # encoded frames
    flow: list[bytes]  # encoded pairs
    clipped: int  # flow vectors that the bound clips
    frames: int  # that it has, encoded or not


def read_video(
    video: str | PathLike[str],
    *,
    method: str = "dis",
    short_side: int | None = None,
    trust_plugins: bool = False,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """All frames of a video, and its optical flow.

    >>> frames, flow = read_video("clip.mp4", method="dis", preset="fast")  # doctest: +SKIP

    Args:
        video: the video file, or a folder of numbered pictures.
        method: key of `FLOW_METHODS`, or `package.module:function`.
        short_side: resize so that the shorter side has this many pixels; None: native size.
        trust_plugins: whether `method` may be a `module:function`, which is imported.
        options: of the method.

    Returns:
        Frames uint8 (T, H, W, 3) RGB, and flow float32 (T-1, H, W, 2), (u right, v down), pixels
        per frame; `flow[t]` leads from frame t to t + 1.

    Raises:
        InputError: the video gives no frames; or no such method.
    """
    compute = flow_method(trust(method, trust_plugins), options)
    try:
        pixels = getattr(compute, "pixels_at_once", None)
        clips = list(overlapping_chunks(read_frames(video, short_side=short_side), pixels=pixels))
    except VideoError as error:
        raise InputError(f"{video}: {error}") from error
    frames = np.concatenate([clip[overlap:] for clip, overlap in clips])
    flow = [compute(clip) for clip, _ in clips if len(clip) > 1]
    return frames, np.concatenate([no_flow(frames), *flow])


def extract_video(job: Job, *, stored: StoreEntry | None = None) -> Result:
    """Extract one video into its store file, or leave a problem file that says why not.

    Runs in a process of its own: it sets OpenCV to one thread, as clips or videos run side by side.

    Args:
        stored: a store file whose frames are copied as they are, if they are of this very video;
            it is decoded all the same for the flow, which is to be that of the frames before JPEG.
            The new file has the same bytes without it.
    """
    cv2.setNumThreads(1)
    source, settings = job.source(), job.settings
    drop_repeated = settings.get("drop_repeated", False)
    try:
        with (
            open_video(
                job.video, short_side=settings["short_side"], drop_repeated=drop_repeated
            ) as video,
            EntryWriter(job.store, job.name) as entry,
        ):
            if stored and stored.header.get("decoder") != video.decoder:
                stored = None
            seconds = {"decode": 0.0, "flow": 0.0}
            _, clips = encode_video(
                video,
                settings,
                method=recorded_method(settings, job.device),
                threads=job.threads,
                with_rgb=stored is None,
                seconds=seconds,
            )
            height = width = clipped = count = 0
            for clip in clips:
                entry.rgb.extend(clip.rgb)
                entry.flow.extend(clip.flow)
                height, width = clip.size
                clipped += clip.clipped
                count += clip.frames
                beat()
            try:
                source["sha256"] = content_sha256(job.video)
            except OSError as error:
                raise VideoError(f"cannot be read to its end: {error.strerror}") from error
            if video.damage and (fault := machine_fault(job.video)):
                return unrecorded(job, fault)
            if stored:
                same = stored.header["source"].get("sha256") == source["sha256"]
                if not same or stored.num_frames != count:
                    return extract_video(job)
                entry.copy_rgb(stored)
            fps = video.info.fps
            if drop_repeated and fps:
                fps *= len(entry.rgb) / video.decoded
            header = make_header(
                settings,
                name=job.name,
                status="damaged" if video.damage else "ok",
                reason=video.damage or "",
                size={"width": width, "height": height},
                fps=fps,
                counts={
                    "promised": video.promised,
                    "frames": len(entry.rgb),
                    "flows": len(entry.flow),
                    "repeated": video.repeated,
                },
                source=source,
                clipped_share=round(clipped / max(1, len(entry.flow) * height * width), 8),
                decoder=video.decoder,
            )
            entry.finish(header)
        return result_of(job.name, header, seconds=seconds)
    except VideoError as error:
        if isinstance(error.__cause__, OSError):
            return unrecorded(job, str(error))
        if fault := machine_fault(job.video):
            return unrecorded(job, f"{error}, but {fault}")
        return record_problem(job, status="failed", reason=str(error))
    except OSError as error:
        return unwritable(job, error)
    except Exception as error:
        if is_out_of_memory(error):
            return unrecorded(job, f"out of memory ({type(error).__name__})")
        raise


def encode_video(
    frames: Iterable[np.ndarray],
    settings: dict[str, Any],
    *,
    method: ClipMethod | None,
    threads: int,
    seconds: dict[str, float],
    with_rgb: bool = True,
    skip: int = 0,
) -> tuple[int, Iterator[EncodedClip]]:
    """The frames of a video and their flow, quantised and encoded, a few at a time.

    Memory stays bounded however long the video is.

    Args:
        method: None gives frames without flow.
        threads: that compute at one time; the result does not depend on it.
        seconds: those of `decode` and `flow` are added to it, over all threads.
        with_rgb: whether the frames are encoded too.
        skip: so many frames, or a few less, are only decoded, at once.

    Returns:
        How many frames were skipped, and what follows. If any were, the first flow pair leads from
        the last one of them.
    """
    encode = partial(encode_frames, settings=settings, with_rgb=with_rgb)
    adding = Lock()

    def timed(items: Iterator[Item]) -> Iterator[Item]:
        while True:
            began = time.perf_counter()
            item = next(items, None)
            seconds["decode"] += time.perf_counter() - began
            if item is None:
                return
            yield item

    def compute(clip: np.ndarray, overlap: int) -> tuple[np.ndarray, np.ndarray]:
        """The new frames of a clip, and its flow."""
        flow = no_flow(clip)
        if method and len(clip) > 1:
            began = time.perf_counter()
            flow = method(clip)
            with adding:
                seconds["flow"] += time.perf_counter() - began
        return clip[overlap:], flow

    if method is None:  # frames need not wait for their neighbours
        alone = timed(iter(frames))
        skipped = sum(1 for _ in islice(alone, skip))
        return skipped, map_in_order(lambda frame: encode(frame[None]), alone, threads=threads)
    pixels, skipped = getattr(method, "pixels_at_once", None), 0
    clips = timed(overlapping_chunks(frames, pixels=pixels))
    for clip, overlap in clips:
        if skipped + len(clip) - overlap > skip:
            clips = chain([(clip, overlap)], clips)
            break
        skipped += len(clip) - overlap
    if not pixels:
        return skipped, map_in_order(lambda clip: encode(*compute(*clip)), clips, threads=threads)
    parts = (  # a device computes here; threads encode what it has computed
        (fresh[start : start + MAX_CHUNK], flow[start : start + MAX_CHUNK])
        for fresh, flow in (compute(*clip) for clip in clips)
        for start in range(0, len(fresh), MAX_CHUNK)
    )
    return skipped, map_in_order(lambda part: encode(*part), parts, threads=threads)


MEMORY_TO_BE_HAD = 64 * 2**20  # bytes; a decoder that fails for lack of memory does not say so


def machine_fault(video: Path) -> str:
    """What the machine lacks for a video to be read, as it may fail without saying why.

    Empty where all of the file can be read, another file can be opened, and there is some memory.
    """
    try:
        content_sha256(video)
        bytearray(MEMORY_TO_BE_HAD)
    except OSError as error:
        return f"the file cannot be read to its end: {error.strerror}"
    except MemoryError:
        return "memory is short"
    except VideoError:  # pictures that are no video, however often they are read
        pass
    return ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, OpenCV (its code -4), torch or the start of a thread lacked memory."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or getattr(error, "code", None) == -4
        or "OutOfMemory" in type(error).__name__
        or isinstance(error, RuntimeError)
        and any(part in text for part in ("out of memory", "can't allocate", "start new thread"))
    )


def unrecorded(job: Job, reason: str) -> Result:
    """The result of a job that failed by a fault of the machine: the next run tries it again."""
    return Result(job.name, "failed", f"{reason}; not the video's fault, so tried again next time")


def result_of(name: str, header: Mapping[str, Any], **more: Any) -> Result:
    """The result of a video that has its store file; `more` as in `Result`."""
    return Result(
        name,
        header["status"],
        header["reason"],
        frames=header["counts"]["frames"],
        repeated=header["counts"].get("repeated", 0),
        **more,
    )


def unwritable(job: Job, error: OSError) -> Result:
    """The result of a job whose store file cannot be written; the reason names a path."""
    reason = f"{error.strerror or error}: {error.filename or job.store}"
    return Result(job.name, "unwritable", reason)


def record_problem(job: Job, *, status: str, reason: str) -> Result:
    """Write the problem file of a job; return its result, which is `unwritable` if that fails."""
    try:
        write_problem(
            job.store,
            job.name,
            status=status,
            reason=reason,
            source=job.source(),
            settings_hash=settings_hash(job.settings),
        )
    except OSError as error:
        return unwritable(job, error)
    return Result(job.name, status, reason)


def overlapping_chunks(
    frames: Iterable[np.ndarray], *, pixels: int | None = None
) -> Iterator[tuple[np.ndarray, int]]:
    """Gather frames into clips (T, H, W, 3), each beginning with the last frame of the one before.

    A clip has up to `MAX_CHUNK` new frames, fewer of a large picture; or as many as have `pixels`
    pixels, one at least. So memory stays bounded however long or large the video is. A single frame
    comes as a clip of one.

    Yields:
        A clip, and how many of its frames the clip before had: 0 for the first one, then 1.
    """
    frames = iter(frames)
    last: list[np.ndarray] = []
    while (frame := next(frames, None)) is not None:
        area = frame.shape[0] * frame.shape[1]
        fresh = max(1, pixels // area if pixels else min(CHUNK_PIXELS // area, MAX_CHUNK))
        # Filled frame by frame, so that the decoder writes into the same few buffers again.
        clip = np.empty((len(last) + fresh, *frame.shape), frame.dtype)
        count = 0
        for each in chain(last, [frame], islice(frames, fresh - 1)):
            clip[count] = each
            count += 1
        yield clip[:count], len(last)
        last = [clip[count - 1].copy()]  # not a view, which would keep all of the clip


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


def no_flow(frames: np.ndarray) -> np.ndarray:
    """Flow of no pair, of the size of these frames."""
    return np.empty((0, *frames.shape[1:3], 2), np.float32)


def encode_frames(
    frames: np.ndarray,
    flow: np.ndarray | None = None,
    *,
    settings: dict[str, Any],
    with_rgb: bool = True,
) -> EncodedClip:
    """Quantise and encode frames and flow pairs; without `with_rgb` the pairs alone."""
    codec, quality = CODECS[settings["codec"]], settings["quality"]
    bound = settings["quantiser"]["bound"]
    pairs = () if flow is None else quantize(flow, bound=bound)
    return EncodedClip(
        size=(frames.shape[1], frames.shape[2]),
        rgb=[codec.encode_rgb(frame, quality=quality) for frame in frames] if with_rgb else [],
        flow=[codec.encode_flow(pair, quality=quality) for pair in pairs],
        clipped=0 if flow is None else count_clipped(flow, bound=bound),
        frames=len(frames),
    )


def count_clipped(flow: np.ndarray, *, bound: float) -> int:
    """How many vectors of flow (..., 2) have a component beyond +-bound pixels."""
    return int(np.count_nonzero(np.abs(flow).max(axis=-1) > bound))
