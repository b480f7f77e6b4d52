"""Frames and flow from one form on disk to another: stores, and the layouts of other tools."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from flow_extract.extraction.executor import PRELOAD, Outcome, run_jobs
from flow_extract.extraction.one_video import Result, is_current
from flow_extract.extraction.resume import remove_leftovers
from flow_extract.layouts.layouts import LAYOUTS, tree_videos
from flow_extract.layouts.reader import LayoutEntry
from flow_extract.layouts.writer import remove_unfinished, write_layout
from flow_extract.store.codecs import load_codec
from flow_extract.store.manifest import problem_path, rebuild_manifest, write_problem
from flow_extract.store.reader import (
    StoreEntry,
    entry_path,
    entry_paths,
    read_header,
    recorded_settings,
)
from flow_extract.store.settings import JPEG_QUALITY, settings_hash
from flow_extract.store.writer import Blobs, collecting, write_entry
from twostream_base.errors import InputError

# One video from one form on disk to another: into a store file, or into pictures.
# Pairs that are read at one time.
CHUNK = 10


class Conversion(NamedTuple):
    """One video to convert; it may be sent to another process.

    Attributes:
        name: of the video.
        open: makes a `StoreEntry` or a `LayoutEntry` of it.
        write: called with the name and that; tells whether there was something to do.
    """

    name: str
    open: Callable[[], Any]
    write: Callable[[str, Any], bool]


def convert_video(job: Conversion) -> Result:
    """Convert one video: `ok`, `damaged` or `failed`, and `settled` where it was there.

    `unwritable` where a disk fails or is full, which is no fault of the video. Runs in a process of
    its own: it sets OpenCV to one thread, as videos run side by side.
    """
    import cv2

    cv2.setNumThreads(1)
    try:
        entry = job.open()
        written = job.write(job.name, entry)
    except ValueError as error:
        return Result(job.name, "failed", str(error))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return Result(job.name, "unwritable", f"{error.strerror or error}{where}")
    header = entry.header
    return Result(job.name, header["status"], header["reason"], settled=not written)


def conclude(job: Conversion, outcome: Outcome) -> Result:
    """The result of a job of `convert_video`, also where its process died."""
    if outcome.status == "returned":
        result: Result = outcome.value
        return result
    return Result(job.name, "failed", f"{outcome.status}: {outcome.reason}")


def into_store(name: str, entry: Any, *, store: Path, codec: str) -> bool:
    """Write the store file of a video; False if it is there already.

    Raises:
        InputError: it has flow without frames; or a picture of it cannot be read.
    """
    if not entry.num_frames:
        raise InputError(
            f"{entry.path}: flow without frames; a store holds both. Link the folder of frames to "
            "where the layout has them"
        )
    header = _store_header(name, entry, codec)
    path = entry_path(store, name)
    if _is_done(path, header):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with collecting(path.parent) as rgb, collecting(path.parent) as flow:
        _encode(entry, rgb, flow, codec=codec, quality=header["quality"])
        write_entry(store, header, rgb=rgb, flow=flow)
    problem_path(store, name).unlink(missing_ok=True)
    return True


def _store_header(name: str, entry: Any, codec: str) -> dict[str, Any]:
    quality = None if load_codec(codec).lossless else JPEG_QUALITY
    settings = recorded_settings(entry.header) | {"codec": codec, "quality": quality}
    if isinstance(entry, StoreEntry) and entry.header["codec"] != codec:
        settings["recoded_from"] = entry.header["codec"]
    facts = {"name": name, "settings_hash": settings_hash(settings)}
    return entry.header | settings | facts


def _is_done(path: Path, header: dict[str, Any]) -> bool:
    try:
        found = read_header(path) if path.exists() else None
    except InputError:  # damaged: it is written anew
        return False
    return found is not None and is_current(
        found, settings_hash=header["settings_hash"], source=header["source"]
    )


def _encode(entry: Any, rgb: Blobs, flow: Blobs, *, codec: str, quality: int | None) -> None:
    encode = load_codec(codec)
    for index in range(entry.num_frames):
        rgb.append(encode.encode_rgb(entry.read_rgb([index])[0], quality=quality))
    for start in range(0, entry.num_flows, CHUNK):
        for pair in entry.read_flow(start, min(CHUNK, entry.num_flows - start)):
            flow.append(encode.encode_flow(pair, quality=quality))


# A video's name -> what opens it: a `StoreEntry` or a `LayoutEntry`.
Source = Mapping[str, Callable[[], Any]]
Progress = Callable[..., Iterable[Any]]
# `executor.run_jobs`, or another function like it.
Engine = Callable[..., Generator[tuple[Conversion, Any], None, None]]
# Pictures are only recoded: a day is enough for the longest video.
TIMEOUT = 24 * 3600.0


def store_source(store: Path) -> Source:
    """The videos of a store."""
    paths = entry_paths(store.absolute())
    if not paths:
        raise InputError(f"{store}: no store files there")
    return {name: partial(StoreEntry, path) for name, path in paths.items()}


def layout_source(root: Path, layout: str, *, quantiser: str | None, bound: float | None) -> Source:
    """The videos of a tree; the arguments are those of `LayoutEntry`."""
    entry = partial(LayoutEntry, quantiser=quantiser, bound=bound)
    return {
        name: partial(entry, root.absolute(), folder, layout)
        for name, folder in tree_videos(root, LAYOUTS[layout]).items()
    }


def convert_to_store(
    source: Source,
    store: Path,
    *,
    codec: str,
    workers: int,
    progress: Progress,
    engine: Engine = run_jobs,
) -> list[Result]:
    """Write store files of all videos that are not there yet, and a problem file where that fails.

    Args:
        source: of `store_source` or `layout_source`.
        store: folder; made if missing.
        codec: key of `CODECS`.
        workers: videos at one time.
        progress: `progress(items, total=...)` passes them through, drawing a bar or not.
        engine: runs the jobs, as `executor.run_jobs` does.

    Returns:
        A result for each video, sorted by name: `ok`, `damaged` or `failed`, `settled` where it was
        there.

    Raises:
        OSError: the store cannot be written.
    """
    load_codec(codec)
    store.mkdir(parents=True, exist_ok=True)
    remove_leftovers(store)
    write = partial(into_store, store=store.absolute(), codec=codec)
    try:
        results = _convert(source, write, workers=workers, progress=progress, engine=engine)
    finally:
        remove_leftovers(store)
    for result in results:
        if result.status == "failed":
            _record_failure(store, result)
    rebuild_manifest(store)
    return results


def convert_to_layout(
    source: Source,
    root: Path,
    layout: str,
    *,
    quantiser: str,
    workers: int,
    progress: Progress,
    engine: Engine = run_jobs,
) -> list[Result]:
    """Write pictures of all videos that are not there yet; see `convert_to_store`."""
    write = partial(_into_layout, root=root.absolute(), layout=layout, quantiser=quantiser)
    try:
        return _convert(source, write, workers=workers, progress=progress, engine=engine)
    finally:
        for name in source:
            remove_unfinished(root, name, layout)


def _convert(
    source: Source,
    write: Callable[[str, Any], bool],
    *,
    workers: int,
    progress: Progress,
    engine: Engine,
) -> list[Result]:
    jobs = [Conversion(name, opened, write) for name, opened in source.items()]
    modules = (*PRELOAD, "flow_extract.layouts.convert")
    run = engine(
        convert_video, jobs, workers=workers, timeout=TIMEOUT, preload=modules, conclude=conclude
    )
    results = []
    with closing(run) as ended:
        for _, result in progress(ended, total=len(jobs)):
            if result.status == "unwritable":
                raise OSError(f"{result.name} cannot be converted: {result.reason}")
            results.append(result)
    return sorted(results, key=lambda result: result.name)


def _into_layout(name: str, entry: Any, *, root: Path, layout: str, quantiser: str) -> bool:
    return write_layout(root, name, layout, entry=entry, quantiser=quantiser)


def _record_failure(store: Path, result: Result) -> None:
    write_problem(
        store,
        result.name,
        status="failed",
        reason=result.reason,
        source={"path": result.name, "size": None, "mtime_ns": None},
        settings_hash="",
    )
