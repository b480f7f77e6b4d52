"""Joining the listed videos of a data set with a store; what is missing is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flow_extract.store.header import frame_settings, recorded_settings, settings_hash
from flow_extract.store.reader import StoreEntry, scan_store
from twostream.data.splits import VideoRecord
from twostream.transforms.presets import Modality
from twostream_base.errors import InputError, some_of
from twostream_base.files import sha256_bytes
from twostream_base.video_names import match_names

WITHOUT_FLOW = "frames alone, without flow"
SOURCE_DIGITS = 16  # of a sha256, by which a video is known under another name


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A record whose frames and flow can be read.

    Attributes:
        path: its file in the store.
        length: frames, or flow pairs, that the stream at hand can use; at least 1.
        size: height and width of its pictures, where that is known.
        identity: of the header as it was when the video was joined, see `header_identity`; None is
            compared with nothing.
        source: the first digits of the sha256 of the video file; empty where it is not known.
        first: its first frame or flow pair in the file; above 0 for clips of a film.
    """

    record: VideoRecord
    path: Path
    length: int
    size: tuple[int, int] | None = None
    identity: bytes | None = None
    source: str = ""
    first: int = 0

    def open(self) -> StoreEntry:
        """Open the store file, which must still be the one that was joined; see `StoredClip`.

        Raises:
            InputError: it has changed since, is missing or damaged.
        """
        entry = StoredClip(self.path, self.first) if self.first else StoreEntry(self.path)
        if self.identity not in (None, header_identity(entry.header)):
            counts = entry.header["counts"]
            raise InputError(
                f"{self.path}: changed since this command began: it is now {entry.header['name']}, "
                f"{counts['frames']} frames and {counts['flows']} flow pairs, settings "
                f"{entry.header['settings_hash'][:12]}. Let nothing write to the store meanwhile, "
                "and run the same command again"
            )
        return entry


class StoredClip(StoreEntry):
    """A store file from picture `first` on: its pictures are counted from there."""

    def __init__(self, path: Path, first: int) -> None:
        super().__init__(path)
        self.first = first

    def pictures(self, key: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Decode the pictures at `indices` behind the first one, as `StoreEntry` does."""
        return super().pictures(key, [self.first + index for index in indices])


@dataclass(frozen=True, slots=True)
class Joined:
    """Result of a join: the usable videos in list order, and the others with the reason.

    Attributes:
        extraction: the settings by which frames and flow were made, the same for all videos; where
            the stream sees frames alone, only those that decide the frames are the same.
        unlisted: names of stored videos that are none of the records.
    """

    videos: list[StoredVideo]
    missing: dict[str, str]
    extraction: dict[str, Any]
    unlisted: frozenset[str] = frozenset()

    @property
    def flow(self) -> dict[str, Any]:
        """Method and bound of the flow."""
        return {"method": self.extraction["method"], "bound": self.extraction["quantiser"]["bound"]}


def named(joined: Joined) -> list[tuple[str, str]]:
    """Name and source of each video that was joined."""
    return [(video.record.name, video.source) for video in joined.videos]


RECODED = ("codec", "quality", "recoded_from", "opencv")  # the same pictures, stored otherwise


def input_digest(joined: Joined) -> str:
    """What tells whether scores are of these files: 16 digits of a hash.

    Of the settings of extraction, and of each video's name, length and source. A store in another
    codec, as `convert-flow` makes one, shows the same.
    """
    settings = {key: value for key, value in joined.extraction.items() if key not in RECODED}
    videos = [(video.record.name, video.length, video.source) for video in joined.videos]
    return sha256_bytes(json.dumps([settings, videos], sort_keys=True).encode())[:16]


def header_identity(header: Mapping[str, Any]) -> bytes:
    """What tells one store file from another that took its place: eight bytes.

    A hash of name, settings, counts and the sha256 of each array, so of all that is read from it.
    """
    counts, sums = header["counts"], header["sha256"]
    facts = (header["name"], header["settings_hash"], counts["frames"], counts["flows"])
    text = repr((facts, sorted(sums.items())))
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest()


def join_store(
    records: Sequence[VideoRecord],
    store: Path,
    *,
    modality: Modality,
    allow_missing: bool = False,
    use_damaged: bool = False,
) -> Joined:
    """Find the records in the store, by name.

    Raises:
        InputError: videos are missing (unless allowed) or there is none at all, or flow is wanted
            of frames alone; or the store's files were made with different settings.
    """
    headers = scan_store(store)
    films = list(dict.fromkeys(record.stored_name for record in records))
    matches = match_names(films, list(headers), moved=True)
    counted: Literal["frames", "flows"] = "frames" if modality.name == "rgb" else "flows"
    videos, missing = [], {}
    settings: dict[str, dict[str, Any]] = {}  # by their hash
    for record in records:
        if record.stored_name not in matches:
            missing[record.name] = "not extracted"
            continue
        header = headers[matches[record.stored_name]]
        first, length = 0, int(header["counts"][counted])
        if record.film:
            first, end = clip_frames(record, header, store=store)
            length = max(0, min(end, header["counts"]["frames"]) - first - (counted == "flows"))
            length = min(length, header["counts"][counted])
        if header["status"] == "damaged" and not use_damaged:
            missing[record.name] = f"damaged: {header['reason']}; --use-damaged takes it as it is"
        elif length < 1:
            alone = header["method"] is None
            missing[record.name] = WITHOUT_FLOW if alone else "has 1 frame, so no flow"
            if record.film and not (alone and counted == "flows"):
                seconds = header["counts"]["frames"] / float(header["fps"] or 1)
                missing[record.name] = (
                    f"{record.start:g} to {record.end:g} s are too short, or not in the film, which"
                    f" has {seconds:.2f} s"
                )
        else:
            path = store / f"{matches[record.stored_name]}.safetensors"
            identity, sha256 = header_identity(header), str(header["source"].get("sha256") or "")
            size = header["size"]["height"], header["size"]["width"]
            source = sha256[:SOURCE_DIGITS]
            videos.append(StoredVideo(record, path, length, size, identity, source, first))
            used = header["settings_hash"]
            if counted == "frames":
                used = settings_hash(frame_settings(recorded_settings(header)))
            settings.setdefault(used, dict(header))
    named = some_of([f"{name} ({reason})" for name, reason in missing.items()], limit=3)
    if WITHOUT_FLOW in missing.values() and not (videos and allow_missing):
        count = [*missing.values()].count(WITHOUT_FLOW)
        raise InputError(
            f"{store}: {count:,} of {len(records):,} listed videos are stored as frames alone, and "
            "the motion stream needs flow. Run `twostream extract-flow --method dis` to add it; "
            "the frames stay as they are"
        )
    if not videos:
        raise InputError(
            f"none of the {len(records):,} listed videos can be used from {store}: {named}. "
            "Run `twostream extract-flow` first"
        )
    if missing and not allow_missing:
        raise InputError(
            f"{len(missing):,} of {len(records):,} listed videos cannot be used: {named}. Run "
            "`twostream extract-flow`, or give --allow-missing to go on without them (results will "
            "count them)"
        )
    if len(settings) > 1:
        methods = ", ".join(str(header["method"]) for header in settings.values())
        raise InputError(
            f"{store} mixes videos of {len(settings)} settings (methods {methods}); "
            "run `twostream extract-flow` to make them alike"
        )
    unlisted = frozenset(headers.keys() - set(matches.values()))
    return Joined(videos, missing, recorded_settings(next(iter(settings.values()))), unlisted)


def clip_frames(record: VideoRecord, header: Mapping[str, Any], *, store: Path) -> tuple[int, int]:
    """The first frame of a clip of a film, and the one behind its last: nearest to its times.

    25 frames a second, 0.5 to 1 s: 12, 25

    Raises:
        InputError: the film's frame rate is not known, or frames were left out of it.
    """
    fps = header["fps"]
    if not fps or header.get("drop_repeated"):
        reason = "its frame rate is not known" if not fps else "repeated frames were left out of it"
        raise InputError(
            f"{store}: which frames of {record.film} show {record.start:g} to {record.end:g} s is "
            f"not known, as {reason}; extract it from a video file, without --drop-repeated"
        )
    return round(record.start * fps), round(record.end * fps)
