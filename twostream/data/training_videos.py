"""The record of a run's videos (trained on, selecting, tested), and the check that others are new.

A run folder holds them as `videos.csv.gz`: CSV, compressed by gzip, whose own checksum finds
damage. The weights carry a card of them, for where the weights alone are at hand: a digest, and a
short hash of the name of each video that the network has seen.
"""

from __future__ import annotations

import base64
import binascii
import csv
import gzip
import hashlib
import io
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from twostream_base.errors import InputError, some_of
from twostream_base.files import atomic_path, sha256_bytes

VIDEOS = "videos.csv.gz"
# `initial`: what the initial weights had learnt from, where they are of a run that knows it.
PARTS = ("train", "val", "test", "initial")
# Of a name: 240,000 videos then take 2 MB, and one in 10^9 strange names looks like one of them.
HASH_BYTES = 6
LARGEST = 2**28  # bytes of the CSV: a million videos


class RunVideo(NamedTuple):
    """A row of `videos.csv.gz`.

    Attributes:
        label: the name of its class, or its glosses.
        group: the scene, film or subject; empty where it is not known.
        part: one of PARTS; `val` are the held-out videos that choose the epoch.
        source: by which the same video is known under another name: the first digits of the sha256
            of its file, or the path of its frames; empty where neither is known.
    """

    name: str
    label: str
    group: str
    part: str
    source: str = ""


def write_videos(path: Path, videos: Sequence[RunVideo]) -> None:
    """Write `videos.csv.gz`; the same videos give the same bytes."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(_as_csv(videos), 6, mtime=0))


def read_videos(path: Path) -> list[RunVideo]:
    """Read `videos.csv.gz`.

    Raises:
        InputError: it is missing, damaged, or holds something else.
    """
    cure = "copy it again, or remove it: names are then compared with those in the weights"
    try:
        with gzip.open(path) as stream:
            data = stream.read(LARGEST + 1)  # a few bytes can unpack to any number of them
        if len(data) > LARGEST:
            raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
        text = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
        header, *rows = csv.reader(text, strict=True)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {cure}") from error
    fields = list(RunVideo._fields)
    if header != fields or not all(len(r) == len(fields) and r[3] in PARTS for r in rows):
        raise InputError(f"{path}: not the videos of a run ({', '.join(fields)}); {cure}")
    return [RunVideo(*row) for row in rows]


def digest_of(videos: Iterable[RunVideo]) -> str:
    """What tells two sets of lists apart: sha256 of the rows.

    But for those of initial weights; and for the groups, which may become known later, and matter
    to a run by the parts alone that they lead to.
    """
    return sha256_bytes(_as_csv([v._replace(group="") for v in videos if v.part != "initial"]))


def card_of(
    videos: Sequence[RunVideo],
    *,
    dataset: str,
    split: int | None,
    selected_on: str,
    initial: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What a network's weights say of the videos it has seen, as JSON values.

    Args:
        split: None where the data set has no splits.
        selected_on: the part that chooses the epoch, `val` or `test`.
        initial: the cards of the weights that it started from; empty where they have none.
    """
    trained = {name_hash(v.name) for v in videos if v.part in ("train", "initial")}
    chose = {name_hash(v.name) for v in videos if v.part == selected_on}
    for card in initial:
        trained |= _unpack(card.get("trained", ""))
        chose |= _unpack(card.get("selecting", ""))
    counts = Counter(video.part for video in videos)
    return {
        "dataset": dataset,
        "split": split,
        "videos": {part: counts[part] for part in PARTS},
        "sha256": digest_of(videos),
        "selected_on": selected_on,
        "trained": _pack(trained),
        "selecting": _pack(chose),
    }


def describe_changes(before: Iterable[RunVideo], now: Iterable[RunVideo]) -> str:
    """How the lists of a run have changed: `2 videos more in training (a, b); 1 moved ...`."""
    old, new = (
        {video.name: video for video in videos if video.part != "initial"}
        for videos in (before, now)
    )
    words = {"train": "training", "val": "validation", "test": "test"}
    kinds: dict[str, list[str]] = {}
    for name in sorted(old.keys() | new.keys()):
        was, is_ = old.get(name), new.get(name)
        if was is None or is_ is None:
            kind = f"gone from {words[was.part]}" if was else f"more in {words[new[name].part]}"
        elif was.part != is_.part:
            kind = f"moved from {words[was.part]} to {words[is_.part]}"
        elif was.label != is_.label:
            kind = "of another label"
        elif was.source and is_.source and was.source != is_.source:
            kind = "of another file"
        else:
            continue
        kinds.setdefault(kind, []).append(name)
    return "; ".join(
        f"{len(names):,} {'video' if len(names) == 1 else 'videos'} {kind} "
        f"({some_of(names, limit=3)})"
        for kind, names in kinds.items()
    )


@dataclass(frozen=True)
class Seen:
    """Which of some videos a network has seen before.

    Attributes:
        trained: names of those it was trained on. selecting: of those that chose its epoch.
        count: how many videos were looked at.
    """

    trained: list[str]
    selecting: list[str]
    count: int

    def __bool__(self) -> bool:
        return bool(self.trained or self.selecting)

    @property
    def facts(self) -> dict[str, Any]:
        """For the header of a score file: empty where none was seen."""
        if not self:
            return {}
        seen = {"trained": len(self.trained), "selecting": len(self.selecting), "of": self.count}
        return {"seen_in_training": seen}

    @property
    def text(self) -> str:
        """`3 of 34 videos were trained on (a, b, c), 1 of 34 videos chose the epoch (d)`."""
        parts = [(self.trained, "were trained on"), (self.selecting, "chose the epoch")]
        return ", ".join(
            f"{len(names):,} of {self.count:,} videos {verb} ({some_of(names, limit=3)})"
            for names, verb in parts
            if names
        )

    def refusal(self, *, run: Path, what: str) -> InputError:
        """The error for a network that has seen some videos of `what`, as "the list new.csv"."""
        return InputError(
            f"{run} has seen {len(self.trained) + len(self.selecting):,} of the {self.count:,} "
            f"videos of {what}: {self.text}. A result on them says nothing about unseen videos: "
            "take others, or give --on-training-videos, and every result will say so"
        )


def find_seen(
    videos: Sequence[tuple[str, str]],
    *,
    card: Mapping[str, Any],
    recorded: Sequence[RunVideo] = (),
    chosen: bool = True,
) -> Seen:
    """Which of `videos`, given as (name, source), a network has seen.

    Args:
        card: of `card_of`, from the network's weights; empty where it is not known.
        recorded: of its run folder, where that is at hand: then the same video is found under
            another name too.
        chosen: whether videos that chose the epoch count too, not only those trained on. They do
            not where they are known as such, as in the subset `val` of a run.
    """
    parts = {"trained": ("train", "initial"), "selecting": (card.get("selected_on", "val"),)}
    hashes, sources = {}, {}
    for key, of_key in parts.items():
        rows = [video for video in recorded if video.part in of_key]
        hashes[key] = _unpack(card.get(key, "")) | {name_hash(video.name) for video in rows}
        sources[key] = {video.source for video in rows} - {""}
    seen: dict[str, list[str]] = {"trained": [], "selecting": []}
    for name, source in videos:
        digest = name_hash(name)
        for key in ("trained", "selecting"):
            if digest in hashes[key] or source in sources[key]:
                if key == "trained" or chosen:
                    seen[key].append(name)
                break
    return Seen(**seen, count=len(videos))


def name_hash(name: str) -> bytes:
    """Short hash of a video's name, however case and accents are spelt."""
    spelling = unicodedata.normalize("NFC", name).casefold()
    return hashlib.sha256(spelling.encode(errors="surrogateescape")).digest()[:HASH_BYTES]


def _pack(hashes: Iterable[bytes]) -> str:
    return base64.b64encode(b"".join(sorted(hashes))).decode()


def _unpack(text: str) -> set[bytes]:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise InputError(
            f"the weights' card of training videos is damaged ({error}); copy the weights again"
        ) from error
    return {data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)}


def _as_csv(videos: Sequence[RunVideo]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RunVideo._fields)
    writer.writerows(videos)
    return text.getvalue().encode(errors="surrogateescape")
