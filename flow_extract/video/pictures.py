"""Folders of numbered pictures, read as videos: `00001.jpg`, `img_7.png`, `frame-1.PNG`, ..."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import pairwise
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from flow_extract.video.frames import MAX_PIXELS, FrameSource, VideoError, VideoInfo
from twostream_base.errors import printable, some_of
from twostream_base.files import sha256_bytes, sha256_file
from twostream_base.heartbeat import beat

PICTURE_SUFFIXES = {"bmp", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"}
NUMBERED = re.compile(
    rf"(?!\.).*[0-9].*\.(?:{'|'.join(sorted(PICTURE_SUFFIXES))})", re.IGNORECASE | re.DOTALL
)
NUMBER = re.compile("([0-9]+)")
# Numbers that are missing in a row of pictures; more are counted, not named.
NAMED_NUMBERS = 5
NO_PICTURES = "a folder without numbered pictures, such as 00001.jpg"
# How pictures of flow begin that lie beside frames -> key of `layouts.LAYOUTS`.
FLOW_PICTURES = {"flow_x_": "flow_xy", "flow_y_": "flow_xy", "x_": "xy", "y_": "xy"}


class NumberedPictures(NamedTuple):
    """The pictures of a video, in order."""

    names: list[str]  # of the files, by rising number
    first: int  # number
    step: int  # from one number to the next
    expected: int  # how many there would be if none were missing
    missing: list[int]  # the first few of the numbers that are

    @property
    def gap(self) -> str:
        """What is missing, in one line; empty if nothing."""
        count = self.expected - len(self.names)
        if not count:
            return ""
        more = count - len(self.missing)
        numbers = ", ".join(map(str, self.missing)) + (f" and {more:,} more" if more else "")
        which = "number" if count == 1 else "numbers"
        return f"{count:,} of {self.expected:,} pictures are missing, {which} {numbers}"


def is_numbered_picture(name: str) -> bool:
    """Whether a file of that name may be one of a row of pictures."""
    return NUMBERED.fullmatch(name) is not None


def number_pictures(names: Collection[str]) -> NumberedPictures:
    """Put pictures in the order of the number in their names: 1, 2, ... 10.

    All names are alike but for that number. Where several numbers differ, that one counts which is
    another for each picture and lacks the fewest. Numbers may begin anywhere, and rise by another
    step than 1 where it is the same throughout.

    Raises:
        VideoError: there are pictures of several videos, or two of one number.

    >>> number_pictures(["img_10.jpg", "img_9.jpg", "img_12.JPG"]).names
    ['img_9.jpg', 'img_10.jpg', 'img_12.JPG']
    """
    rows: dict[tuple[str, ...], list[tuple[str, list[int]]]] = defaultdict(list)
    for name in sorted(names):
        parts = NUMBER.split(name.rpartition(".")[0])
        rows[tuple(parts[::2])].append((name, [int(number) for number in parts[1::2]]))
    if len(rows) > 1:
        kinds = [f"{'*'.join(texts)} ({len(row):,})" for texts, row in rows.items()]
        cure = "a folder of pictures is one video: give each kind a folder of its own"
        layouts = [FLOW_PICTURES[texts[0]] for texts in rows if texts[0] in FLOW_PICTURES]
        if layouts:
            cure = f"frames with flow are read by `twostream convert-flow --from {layouts[0]}`"
        raise VideoError(f"pictures of {len(rows):,} kinds, {some_of(kinds)}; {cure}")
    (row,) = rows.values()
    columns = list(zip(*(numbers for _, numbers in row), strict=True))
    distinct = [column for column in columns if len(set(column)) == len(row)]
    if not distinct:
        differing = [column for column in columns if len(set(column)) > 1] or columns
        if len(differing) > 1:
            raise VideoError(
                f"no number in their names tells the order of its {len(row):,} pictures, "
                f"{some_of([name for name, _ in row], limit=3)}; give those of each video a folder "
                "of their own"
            )
        by_number = sorted(zip(differing[0], (name for name, _ in row), strict=True))
        first, second = next(pair for pair in pairwise(by_number) if pair[0][0] == pair[1][0])
        raise VideoError(
            f"{printable(first[1])} and {printable(second[1])} have the same number; remove one"
        )
    column = min(reversed(distinct), key=lambda column: max(column) - min(column))
    ordered = sorted(zip(column, (name for name, _ in row), strict=True))
    numbers = [number for number, _ in ordered]
    # Of two pictures alone nobody knows the step.
    step = gcd(*(b - a for a, b in pairwise(numbers))) if len(numbers) > 2 else 1
    missing: list[int] = []
    for a, b in pairwise(numbers):
        missing += range(a + step, b, step)[: NAMED_NUMBERS - len(missing)]
    expected = (numbers[-1] - numbers[0]) // step + 1
    return NumberedPictures([name for _, name in ordered], numbers[0], step, expected, missing)


def numbered_files(folder: Path) -> list[os.DirEntry[str]]:
    """The files of a folder that may be a row of pictures, in no order."""
    with os.scandir(folder) as entries:
        return [entry for entry in entries if is_numbered_picture(entry.name) and entry.is_file()]


def why_incomplete(folder: Path, *, use_gaps: bool = False) -> str:
    """Why a folder is not a whole row of pictures, by their names alone; empty if it is.

    Args:
        use_gaps: whether numbers may be missing.
    """
    names = [entry.name for entry in numbered_files(folder)]
    if not names:
        return NO_PICTURES
    try:
        gap = number_pictures(names).gap
        return "" if use_gaps else gap
    except VideoError as error:
        return str(error)


class PictureVideo(FrameSource):
    """A folder of numbered pictures: iterate over it, once, for its frames.

    One picture is in memory at a time. JPEGs are turned as their EXIF data say; transparency is
    dropped, more than 8 bits are cut to 8.

    Attributes:
        info, promised, decoded, repeated, damage, decoder: as of `decode.Video`. Numbers that are
            missing, and files that are no pictures, are promised and not decoded.

    Raises:
        VideoError: no numbered picture there, those of several videos, two of one number (see
            `number_pictures`), or none that can be read; when iterated over, one of another size
            than the first.
    """

    def __init__(self, folder: Path, *, short_side: int | None, drop_repeated: bool) -> None:
        self._folder, self.decoder = folder, f"OpenCV {cv2.__version__}"
        try:
            names = [entry.name for entry in numbered_files(folder)]
        except OSError as error:
            raise VideoError(f"cannot be read: {error.strerror}") from error
        if not names:
            raise VideoError(NO_PICTURES)
        self._pictures = number_pictures(names)
        self._unreadable: list[str] = []
        self.promised, self.decoded = self._pictures.expected, 0
        self.damage: str | None = None
        size = self._begin(self._read_all(), short_side=short_side, drop_repeated=drop_repeated)
        if size is None:
            raise VideoError(
                f"none of its {len(names):,} pictures can be read: {some_of(self._unreadable)}"
            )
        height, width = size
        suffix = self._pictures.names[0].rpartition(".")[2].lower()
        self.info = VideoInfo(width, height, fps=None, num_frames=len(names), codec=suffix)

    def _read_all(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All pictures that can be read, in their own size, which is the same for all."""
        size: tuple[int, ...] | None = None
        for name in self._pictures.names:
            try:
                data = (self._folder / name).read_bytes()
            except OSError as error:
                raise VideoError(f"{printable(name)} cannot be read: {error.strerror}") from error
            if size is None:
                check_pixels(name, data)
            picture = decode_picture(data)
            if picture is None:
                self._unreadable.append(name)
                continue
            size = size or picture.shape
            if picture.shape != size:
                raise VideoError(
                    f"its pictures differ in size: {printable(name)} has {picture.shape[1]} x "
                    f"{picture.shape[0]} pixels, those before it {size[1]} x {size[0]}"
                )
            self.decoded += 1
            beat()
            yield picture, picture
        lost = [self._pictures.gap] if self._pictures.gap else []
        if self._unreadable:
            count, names = len(self._pictures.names), some_of(self._unreadable)
            lost.append(f"{len(self._unreadable):,} of {count:,} pictures cannot be read: {names}")
        self.damage = "; ".join(lost) or None


def check_pixels(name: str, data: bytes) -> None:
    """Refuse a picture of more than `MAX_PIXELS`, by its header.

    Raises:
        VideoError: it has more.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as picture:
                width, height = picture.size
    except Image.DecompressionBombError as error:
        raise VideoError(f"{printable(name)} is too large: {error}") from error
    except (OSError, ValueError):
        return  # not known to Pillow; OpenCV has the last word
    if width * height > MAX_PIXELS:
        raise VideoError(
            f"{printable(name)} has {width} x {height} pixels; at most {MAX_PIXELS:,} are read"
        )


def decode_picture(data: bytes) -> np.ndarray | None:
    """A picture as uint8 (H, W, 3) RGB; None where it cannot be read."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error:
        return None


def content_sha256(video: Path) -> str:
    """SHA-256 of a video file; or of the files of its pictures, in order, as if they were one.

    Raises:
        OSError: it cannot be read.
        VideoError: the folder's pictures are no video.
    """
    if video.is_dir():
        digest = hashlib.sha256()
        for name in number_pictures([entry.name for entry in numbered_files(video)]).names:
            digest.update((video / name).read_bytes())
            beat()
        return digest.hexdigest()
    return sha256_file(video)


def identity(video: Path) -> dict[str, Any]:
    """By what a video is recognised without reading it: the parts of `store.header.Source`.

    Raises:
        OSError: it cannot be seen.
    """
    status = video.stat()
    if not stat.S_ISDIR(status.st_mode):
        return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    files = sorted(numbered_files(video), key=lambda entry: entry.name)
    stats = [entry.stat() for entry in files]
    names = "/".join(entry.name for entry in files).encode(errors="surrogateescape")
    return {
        "size": sum(status.st_size for status in stats),
        "mtime_ns": max((status.st_mtime_ns for status in stats), default=0),
        "names": sha256_bytes(names)[:16],
    }
