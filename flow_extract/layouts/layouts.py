"""The folders of JPEG pictures in which other tools keep frames and flow.

    uv       u/<video>/frame000001.jpg   v/...           rgb/...          gpu_flow
    flow_xy  <video>/flow_x_00001.jpg    flow_y_...      img_...          dense_flow, TSN
    xy       <video>/x_00001.jpg         y_...           img_...          mmaction

Numbers begin with 0 or 1. Flow picture t leads from frame picture t to the next, both counted from
their first ones. A `<video>` may be in further folders, and its folder may have a video's suffix.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flow_extract.store.codecs import LEVELS, ZERO
from twostream_base.errors import InputError, some_of
from twostream_base.files import path_inside
from twostream_base.video_names import SUFFIXES

# The note next to pictures that `convert-flow` has written: how, and from what.
SIDECAR = "twostream.json"
QUANTISERS = ("0-255", "ours")


class Layout(NamedTuple):
    """Where the pictures of a video are.

    Attributes:
        rgb: path of a frame below the root up to its number; {} stands for the video's folder.
        u: the same of a picture of horizontal flow.
        v: the same, vertical.
        digits: of a number, when pictures are written.
        ranges: gpu_flow's file of the flow that the levels 0 and 255 stand for.
    """

    rgb: str
    u: str
    v: str
    digits: int
    ranges: str | None = None

    def prefix(self, key: str, root: Path, folder: str) -> Path:
        """Path of the pictures `key` ("rgb", "u" or "v") of a video up to their number."""
        inside: str = getattr(self, key)
        return path_inside(root, inside.format(folder))

    def sidecar(self, root: Path, folder: str) -> Path:
        """Where `convert-flow` notes what it has written."""
        return self.prefix("u", root, folder).with_name(SIDECAR)


LAYOUTS = {
    "uv": Layout("rgb/{}/frame", "u/{}/frame", "v/{}/frame", digits=6, ranges="u/{}.bin"),
    "flow_xy": Layout("{}/img_", "{}/flow_x_", "{}/flow_y_", digits=5),
    "xy": Layout("{}/img_", "{}/x_", "{}/y_", digits=5),
}


def level_range(quantiser: str, *, bound: float) -> tuple[float, float]:
    """Flow, in pixels, that the levels 0 and 255 stand for; the others lie evenly between them.

    `0-255` spreads -bound to bound over all levels, as most tools do: zero falls between 127 and
    128. `ours` is that of `quantize`: zero is 128.
    """
    return (-bound if quantiser == "0-255" else -bound * ZERO / LEVELS), bound


def to_levels(flow: np.ndarray, low: float, high: float) -> np.ndarray:
    """Flow as uint8 levels of that range, clipped to it."""
    return np.rint(np.clip((flow - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)


def tree_videos(root: Path, layout: Layout) -> dict[str, str]:
    """Name -> folder of all videos below `root`, sorted by name, folder links included.

    A video is a folder with pictures of the layout, or without any folder in it: an empty one, as a
    stopped tool leaves it, is to be noticed and not passed over.

    Raises:
        InputError: no such folder, or nothing in it; two folders would share a name; a leftover of
            a conversion that was stopped.
    """
    tops = sorted({template.partition("{}")[0] for template in (layout.u, layout.v, layout.rgb)})
    starts = tuple(Path(template).name for template in (layout.u, layout.v, layout.rgb))
    folders = {folder for top in tops for folder in _video_folders(root / top, starts)}
    if not folders:
        patterns = ", ".join(template.format("VIDEO") + "*.jpg" for template in layout[:3])
        raise InputError(f"{root}: no pictures there; looked for {patterns}")
    names: dict[str, str] = {}
    for folder in sorted(folders):
        stem, _, suffix = folder.rpartition(".")
        name = stem if stem and suffix.lower() in SUFFIXES else folder
        if folder.endswith((".new", ".old")):
            raise InputError(
                f"{root}: {folder} is left of a stopped conversion; finish or remove it"
            )
        if name in names:
            raise InputError(f"{root}: {names[name]} and {folder} would share a name; rename one")
        names[name] = folder
    return names


def list_pictures(prefix: Path) -> dict[int, Path]:
    """Number -> file, in order, of the pictures whose path begins with `prefix`.

    Raises:
        InputError: numbers begin with neither 0 nor 1, or some are missing or doubled.
    """
    pattern = re.compile(re.escape(prefix.name) + r"([0-9]+)\.(?:jpe?g|png)", re.IGNORECASE)
    numbered: dict[int, Path] = {}
    for file in sorted(prefix.parent.iterdir()) if prefix.parent.is_dir() else []:
        match = pattern.fullmatch(file.name)
        if match and (other := numbered.setdefault(int(match[1]), file)) != file:
            raise InputError(f"{other} and {file.name} have the same number; remove one")
    if numbered:
        expected = range(0 if 0 in numbered else 1, max(numbered) + 1)
        missing = [number for number in expected if number not in numbered]
        if missing:
            raise InputError(
                f"{prefix}*: {len(missing):,} of {len(expected):,} pictures are missing, numbers "
                f"{some_of(missing)}; extract this video again"
            )
    return dict(sorted(numbered.items()))


def _video_folders(top: Path, starts: tuple[str, ...]) -> Iterator[str]:
    for path, folders, files in os.walk(top, followlinks=True):
        here = Path(path)
        # A link to a folder above it would lead round and round.
        folders[:] = [
            folder
            for folder in folders
            if not (
                (here / folder).is_symlink()
                and here.resolve().is_relative_to((here / folder).resolve())
            )
        ]
        has_pictures = any(file.startswith(starts) for file in files)
        if here != top and (has_pictures or not folders):
            yield here.relative_to(top).as_posix()
