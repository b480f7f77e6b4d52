"""Frames and flow from one form on disk to another: stores, and the layouts of other tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flow_extract.blobs import Blobs, collecting
from flow_extract.codecs import load_codec
from flow_extract.extract import Result, is_current
from flow_extract.layout_entry import LayoutEntry
from flow_extract.layout_writer import write_layout
from flow_extract.layouts import LAYOUTS, tree_videos
from flow_extract.manifest import rebuild_manifest
from flow_extract.problems import problem_path, write_problem
from flow_extract.settings import JPEG_QUALITY, settings_hash
from flow_extract.store import (
    StoreEntry,
    entry_path,
    entry_paths,
    read_header,
    recorded_settings,
)
from flow_extract.store_writer import write_entry
from twostream.errors import InputError

# A video's name -> what opens it: a `StoreEntry` or a `LayoutEntry`.
Source = Mapping[str, Callable[[], Any]]
Progress = Callable[..., Iterable[Any]]
# Pairs that are read at one time.
CHUNK = 10


def store_source(store: Path) -> Source:
    """The videos of a store."""
    paths = entry_paths(store)
    if not paths:
        raise InputError(f"{store}: no store files there")
    return {name: partial(StoreEntry, path) for name, path in paths.items()}


def layout_source(root: Path, layout: str, *, quantiser: str | None, bound: float | None) -> Source:
    """The videos of a tree; the arguments are those of `LayoutEntry`."""
    return {
        name: partial(LayoutEntry, root, folder, layout, quantiser=quantiser, bound=bound)
        for name, folder in tree_videos(root, LAYOUTS[layout]).items()
    }


def convert_to_store(
    source: Source, store: Path, *, codec: str, progress: Progress
) -> list[Result]:
    """Write store files of all videos that are not there yet, and a problem file where that fails.

    Args:
        source: of `store_source` or `layout_source`.
        store: folder; made if missing.
        codec: key of `CODECS`.
        progress: `progress(items, total=...)` passes them through, drawing a bar or not.

    Returns:
        A result for each video: `ok`, `damaged` or `failed`, `settled` where it was there.
    """
    load_codec(codec)
    store.mkdir(parents=True, exist_ok=True)
    results = _convert(source, partial(_into_store, store=store, codec=codec), progress=progress)
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
    source: Source, root: Path, layout: str, *, quantiser: str, progress: Progress
) -> list[Result]:
    """Write pictures of all videos that are not there yet; see `convert_to_store`."""
    return _convert(
        source,
        partial(_into_layout, root=root, layout=layout, quantiser=quantiser),
        progress=progress,
    )


def _convert(
    source: Source, write: Callable[[str, Any], bool], *, progress: Progress
) -> list[Result]:
    """Call `write(name, entry)`, which tells if there was something to do, for each video."""

    def results() -> Iterator[Result]:
        for name, opened in source.items():
            try:
                entry = opened()
                written = write(name, entry)
            except ValueError as error:  # of this video; a full disk ends it all
                yield Result(name, "failed", str(error))
            else:
                header = entry.header
                yield Result(name, header["status"], header["reason"], settled=not written)

    return list(progress(results(), total=len(source)))


def _into_layout(name: str, entry: Any, *, root: Path, layout: str, quantiser: str) -> bool:
    return write_layout(root, name, layout, entry=entry, quantiser=quantiser)


def _into_store(name: str, entry: Any, *, store: Path, codec: str) -> bool:
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
