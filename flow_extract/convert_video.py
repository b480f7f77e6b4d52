"""One video from one form on disk to another: into a store file, or into pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from flow_extract.blobs import Blobs, collecting
from flow_extract.codecs import load_codec
from flow_extract.executor import Outcome
from flow_extract.extract import Result, is_current
from flow_extract.problems import problem_path
from flow_extract.settings import JPEG_QUALITY, settings_hash
from flow_extract.store import StoreEntry, entry_path, read_header, recorded_settings
from flow_extract.store_writer import write_entry
from twostream.errors import InputError

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
