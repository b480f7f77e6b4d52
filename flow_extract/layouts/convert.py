"""Converting frames and flow between stores and the picture folders of other tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from flow_extract.extraction.executor import PRELOAD, Engine, Outcome, run_jobs
from flow_extract.extraction.one_video import Result
from flow_extract.layouts.layouts import LAYOUTS, find_tree
from flow_extract.layouts.pictures import CHUNK, LayoutEntry, remove_unfinished, write_layout
from flow_extract.store.check import Progress, without_progress
from flow_extract.store.codecs import load_codec, quality_of
from flow_extract.store.header import (
    FACTS,
    is_current,
    make_header,
    recorded_settings,
    settings_hash,
)
from flow_extract.store.locks import remove_leftovers
from flow_extract.store.manifest import rebuild_manifest, write_problem
from flow_extract.store.reader import StoreEntry, entry_path, entry_paths, read_header
from flow_extract.store.writer import EntryWriter
from twostream_base.errors import InputError

# A video's name, and what opens it: a `StoreEntry` or a `LayoutEntry`.
Job = tuple[str, Callable[[], Any]]
Source = Mapping[str, Callable[[], Any]]
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
    tree = find_tree(root, LAYOUTS[layout])
    entry = partial(LayoutEntry, quantiser=quantiser, bound=bound, tree_has_flow=tree.has_flow)
    return {
        name: partial(entry, root.absolute(), folder, layout)
        for name, folder in tree.videos.items()
    }


def convert_to_store(
    source: Source,
    store: Path,
    *,
    codec: str,
    workers: int,
    progress: Progress = without_progress,
    engine: Engine = run_jobs,
) -> list[Result]:
    """Write store files of all videos that are not there yet, and a problem file where that fails.

    Returns:
        A result for each video, sorted by name: `ok`, `damaged` or `failed`, `reused` where it was
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
            write_problem(
                store,
                result.name,
                status="failed",
                reason=result.reason,
                source={"path": result.name, "size": None, "mtime_ns": None},
                settings_hash="",
            )
    rebuild_manifest(store)
    return results


def convert_to_layout(
    source: Source,
    root: Path,
    layout: str,
    *,
    quantiser: str,
    workers: int,
    progress: Progress = without_progress,
    engine: Engine = run_jobs,
) -> list[Result]:
    """Write pictures of all videos that are not there yet; see `convert_to_store`."""
    write = partial(write_layout, root.absolute(), layout=layout, quantiser=quantiser)
    try:
        return _convert(source, write, workers=workers, progress=progress, engine=engine)
    finally:
        for name in source:
            remove_unfinished(root, name, layout)


def convert_video(job: Job, *, write: Callable[..., bool]) -> Result:
    """Convert one video: `ok`, `damaged` or `failed`, and `reused` where it was there.

    `unwritable` where a disk fails or is full, which is no fault of the video. Runs in a process of
    its own: it sets OpenCV to one thread, as videos run side by side.

    Args:
        write: called with `name` and what was opened as `entry`; tells whether it had to be done.
    """
    cv2.setNumThreads(1)
    name, open_entry = job
    try:
        entry = open_entry()
        written = write(name=name, entry=entry)
    except ValueError as error:
        return Result(name, "failed", str(error))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return Result(name, "unwritable", f"{error.strerror or error}{where}")
    return Result(name, entry.header["status"], entry.header["reason"], reused=not written)


def conclude(job: Job, outcome: Outcome) -> Result:
    """The result of a job of `convert_video`, also where its process died."""
    if outcome.status == "returned":
        result: Result = outcome.value
        return result
    return Result(job[0], "failed", f"{outcome.status}: {outcome.reason}")


def into_store(*, name: str, entry: Any, store: Path, codec: str) -> bool:
    """Write the store file of a video; False if it is there already.

    Raises:
        InputError: it has flow without frames; or a picture of it cannot be read.
    """
    if not entry.num_frames:
        raise InputError(
            f"{entry.path}: flow without frames; a store holds both. Link the folder of frames to "
            "where the layout has them"
        )
    old = entry.header
    quality = quality_of(codec)
    settings = recorded_settings(old) | {"codec": codec, "quality": quality}
    if isinstance(entry, StoreEntry) and old["codec"] != codec:
        settings["recoded_from"] = old["codec"]
    path = entry_path(store, name)
    try:
        new = read_header(path) if path.exists() else None
    except InputError:  # damaged: it is written anew
        new = None
    if new and is_current(new, settings_hash=settings_hash(settings), source=old["source"]):
        return False
    encode = load_codec(codec)
    with EntryWriter(store, name) as written:
        for index in range(entry.num_frames):
            written.rgb.append(encode.encode_rgb(entry.read_rgb([index])[0], quality=quality))
        for start in range(0, entry.num_flows, CHUNK):
            for pair in entry.read_flow(start, min(CHUNK, entry.num_flows - start)):
                written.flow.append(encode.encode_flow(pair, quality=quality))
        facts = {key: value for key, value in old.items() if key in FACTS}
        written.finish(make_header(settings, **facts | {"name": name}))
    return True


def _convert(
    source: Source, write: Callable[..., bool], *, workers: int, progress: Progress, engine: Engine
) -> list[Result]:
    run = engine(
        partial(convert_video, write=write),
        source.items(),
        workers=workers,
        timeout=TIMEOUT,
        preload=(*PRELOAD, "flow_extract.layouts.convert"),
        conclude=conclude,
    )
    results = []
    with closing(run) as ended:
        for _, result in progress(ended, total=len(source)):
            if result.status == "unwritable":
                raise OSError(f"{result.name} cannot be converted: {result.reason}")
            results.append(result)
    return sorted(results, key=lambda result: result.name)
