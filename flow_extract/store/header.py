"""The header of a store file: the settings that decide its content, and facts about its video."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, cast

# Keys of a header that say something about one video. All others are settings, which are the same
# for a whole store: see `extraction.settings`.
FACTS = {
    "format", "name", "status", "reason", "settings_hash", "size", "fps", "counts",
    "clipped_share", "source", "decoder", "sha256",
}  # fmt: skip


class Size(TypedDict):
    """Height and width of the pictures, in pixels."""

    height: int
    width: int


class Counts(TypedDict):
    """Frames that the video promised (None: unknown), and stored frames and flow pairs.

    `repeated` are frames that repeat the one before (see `video.frames.repeats`); they are not
    stored where the settings drop them. Files of earlier versions and of pictures lack it.
    """

    promised: int | None
    frames: int
    flows: int
    repeated: NotRequired[int]


class Source(TypedDict):
    """Where a video came from: path below the video root, size and time of change of the file.

    Size and time are None where the file could not be seen. Of a folder of pictures they are those
    of its pictures together, the latest time, `names` is a part of the sha256 of their names, and
    the sha256 is of the pictures in a row. Of a converted video there are neither names nor sha256.
    """

    path: str
    size: int | None
    mtime_ns: int | None
    names: NotRequired[str]
    sha256: NotRequired[str]


class Header(TypedDict):
    """What a store file says about itself."""

    format: NotRequired[str]  # of the file; written last, with `sha256`, by the writer
    name: str  # of the video
    status: str  # `ok`, or `damaged`: fewer frames were decoded than the video promised
    reason: str  # one line; empty for `ok`
    settings_hash: str  # see `settings_hash`
    size: Size
    fps: float | None  # stored frames per second; None if unknown
    counts: Counts
    clipped_share: NotRequired[float]  # share of the flow vectors that the bound clips
    source: Source
    decoder: NotRequired[str]  # what decoded the video
    sha256: NotRequired[dict[str, str]]  # of each array in the file, in hex digits
    method: dict[str, Any] | None  # `name` and `options`; None: frames without flow
    quantiser: dict[str, float]  # `bound`, `zero`, `scale`
    short_side: int | None  # to which frames were resized; None: native size
    drop_repeated: NotRequired[bool]  # true, where repeated frames were left out
    codec: str  # key of `codecs.CODECS`
    quality: int | None  # of JPEG; None for other codecs
    opencv: NotRequired[str]  # its version
    tree: NotRequired[dict[str, str]]  # `layout`, `quantiser`: where its pictures come from one
    recoded_from: NotRequired[str]  # codec of the store that was converted


def make_header(settings: Mapping[str, Any], **facts: Any) -> Header:
    """The header of a video with these settings, and these facts (see `Header`)."""
    return cast(Header, {**settings, **facts, "settings_hash": settings_hash(settings)})


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings as canonical JSON: two stores hold the same flow when it is the same."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def recorded_settings(header: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a header records: what its `settings_hash` is the hash of."""
    return {key: value for key, value in header.items() if key not in FACTS}


def frame_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that decide the frames, not the flow: equal ones give equal frames."""
    of_frames = {key: settings[key] for key in settings if key not in ("method", "quantiser")}
    if "tree" in settings:
        of_frames["tree"] = settings["tree"]["layout"]
    return of_frames


def is_same_source(record: Mapping[str, Any], source: Source) -> bool:
    """Whether a header or problem record is of this very video."""
    return all(record["source"].get(key) == value for key, value in source.items())


def is_current(record: Mapping[str, Any], *, settings_hash: str, source: Source) -> bool:
    """Whether a header or problem record is of these settings and of this very video file."""
    return record["settings_hash"] == settings_hash and is_same_source(record, source)
