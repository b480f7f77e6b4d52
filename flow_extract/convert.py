"""Frames and flow from one form on disk to another: stores, and the layouts of other tools."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from flow_extract.codecs import load_codec
from flow_extract.convert_video import Conversion, conclude, convert_video, into_store
from flow_extract.executor import PRELOAD, run_jobs
from flow_extract.extract import Result
from flow_extract.layout_entry import LayoutEntry
from flow_extract.layout_writer import remove_unfinished, write_layout
from flow_extract.layouts import LAYOUTS, tree_videos
from flow_extract.manifest import rebuild_manifest
from flow_extract.plan import remove_leftovers
from flow_extract.problems import write_problem
from flow_extract.store import StoreEntry, entry_paths
from twostream.errors import InputError

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
    modules = (*PRELOAD, "flow_extract.convert")
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
