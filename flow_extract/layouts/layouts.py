"""The folders of JPEG pictures in which other tools keep frames and flow.

    uv       u/<video>/frame000001.jpg   v/...           rgb/...          gpu_flow
    flow_xy  <video>/flow_x_00001.jpg    flow_y_...      img_...          dense_flow, TSN
    xy       <video>/x_00001.jpg         y_...           img_...          mmaction

Numbers of flow begin with 0 or 1, or with that of the first frame. Flow picture t leads from frame
picture t to the next, both counted from their first ones. Frames may have other names than these
(`video.pictures`). A `<video>` may be in further folders, and its folder may have a video's suffix.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flow_extract.store.codecs import LEVELS, ZERO
from flow_extract.video.frames import VideoError
from flow_extract.video.pictures import is_numbered_picture, number_pictures
from twostream_base.errors import InputError, some_of
from twostream_base.files import path_inside
from twostream_base.video_names import without_suffix

# The note next to pictures that `convert-flow` has written: how, and from what.
SIDECAR = "twostream.json"
QUANTISERS = ("0-255", "ours")


class Layout(NamedTuple):
    """Where the pictures of a video are."""

    rgb: str  # path of a frame below the root up to its number; {} stands for the video's folder
    u: str  # the same of a picture of horizontal flow
    v: str  # the same, vertical
    digits: int  # of a number, when pictures are written

    def prefix(self, key: str, root: Path, folder: str) -> Path:
        """Path of the pictures `key` ("rgb", "u" or "v") of a video up to their number."""
        inside: str = getattr(self, key)
        return path_inside(root, inside.format(folder))

    def sidecar(self, root: Path, folder: str) -> Path:
        """Where `convert-flow` notes what it has written."""
        return self.prefix("u", root, folder).with_name(SIDECAR)


LAYOUTS = {
    "uv": Layout("rgb/{}/frame", "u/{}/frame", "v/{}/frame", digits=6),
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


class Tree(NamedTuple):
    """The videos of a tree."""

    videos: dict[str, str]  # name -> folder, sorted by name
    has_flow: bool  # whether one of them has pictures of flow


def find_tree(root: Path, layout: Layout) -> Tree:
    """All videos below `root`, folder links included.

    A video is a folder with numbered pictures, or without any folder in it: an empty one, as a
    stopped tool leaves it, is to be noticed and not passed over.

    Raises:
        InputError: no such folder, or nothing in it; two folders would share a name; a leftover of
            a conversion that was stopped.
    """
    folders: set[str] = set()
    has_flow = False
    for top in sorted({template.partition("{}")[0] for template in layout[:3]}):
        flow = tuple(
            Path(template).name
            for template in (layout.u, layout.v)
            if template.partition("{}")[0] == top
        )
        for folder, pictures in _picture_folders(root / top):
            folders.add(folder)
            has_flow = has_flow or any(name.startswith(flow) for name in pictures if flow)
    if not folders:
        patterns = ", ".join(template.format("VIDEO") + "*.jpg" for template in layout[:3])
        raise InputError(
            f"{root}: no pictures there; looked for {patterns}. Folders of frames alone are read "
            "by `twostream extract-flow`"
        )
    names: dict[str, str] = {}
    for folder in sorted(folders):
        name = without_suffix(folder)
        if folder.endswith((".new", ".old")):
            raise InputError(
                f"{root}: {folder} is left of a stopped conversion; finish or remove it"
            )
        if name in names:
            raise InputError(f"{root}: {names[name]} and {folder} would share a name; rename one")
        names[name] = folder
    return Tree(names, has_flow)


def list_flow(prefix: Path, *, first: int | None = None) -> dict[int, Path]:
    """Number -> file, in order, of the pictures of flow whose path begins with `prefix`.

    Args:
        first: number of the first frame; None where there are no frames.

    Raises:
        InputError: some numbers are missing or doubled.
    """
    pattern = re.compile(re.escape(prefix.name) + r"([0-9]+)\.(?:jpe?g|png)", re.IGNORECASE)
    numbered: dict[int, Path] = {}
    for file in sorted(prefix.parent.iterdir()) if prefix.parent.is_dir() else []:
        match = pattern.fullmatch(file.name)
        if match and (other := numbered.setdefault(int(match[1]), file)) != file:
            raise InputError(f"{other} and {file.name} have the same number; remove one")
    if not numbered:
        return {}
    start = 0 if 0 in numbered else 1
    if first is not None and first > 1:  # cut from a longer video, as its frames are
        start = first
        if min(numbered) < start:
            raise InputError(
                f"{prefix}*: numbers begin with {min(numbered)}, those of the frames with {first}; "
                "extract this video again"
            )
    expected = range(start, max(numbered) + 1)
    missing = [number for number in expected if number not in numbered]
    if missing:
        raise InputError(
            f"{prefix}*: {len(missing):,} of {len(expected):,} pictures are missing, numbers "
            f"{some_of(missing)}; extract this video again"
        )
    return dict(sorted(numbered.items()))


def list_frames(layout: Layout, root: Path, folder: str) -> tuple[list[Path], int | None]:
    """The frames of a video in order, and the number of the first one.

    Beside flow other files than the frames are ignored; frames alone have their folder to
    themselves, or else it is of another layout. They may have any name (`number_pictures`).

    Raises:
        InputError: some numbers are missing or doubled, or the pictures are of several kinds.
    """
    prefix, u, v = (layout.prefix(key, root, folder) for key in ("rgb", "u", "v"))
    if not prefix.parent.is_dir():
        return [], None
    names = [
        entry.name
        for entry in os.scandir(prefix.parent)
        if is_numbered_picture(entry.name) and not entry.is_dir()
    ]
    has_flow = any(any(flow.parent.glob(f"{flow.name}[0-9]*")) for flow in (u, v))
    if has_flow:
        if u.parent == prefix.parent:
            names = [name for name in names if not name.startswith((u.name, v.name))]
        usual = re.compile(re.escape(prefix.name) + r"[0-9]+\.[^.]+", re.IGNORECASE)
        names = [name for name in names if usual.fullmatch(name)] or names
    if not names:
        return [], None
    try:
        pictures = number_pictures(names)
    except VideoError as error:
        raise InputError(f"{prefix.parent}: {error}") from error
    if pictures.gap:
        raise InputError(f"{prefix.parent}: {pictures.gap}; extract this video again")
    if has_flow and pictures.step > 1:
        raise InputError(
            f"{prefix.parent}: the numbers of its frames rise by {pictures.step}, so flow from one "
            "to the next has other numbers; extract this video again"
        )
    return [prefix.parent / name for name in pictures.names], pictures.first


def find_ranges(layout: Layout, root: Path, folder: str) -> Path | None:
    """gpu_flow's file of the flow that the levels 0 and 255 stand for; None where there is none.

    It is beside the folder of u (`u/v_1.bin`) or in it, or of v; copies of it may be in several of
    these places.

    Raises:
        InputError: there are two that differ.
    """
    files: list[Path] = []
    for key in ("u", "v"):
        inside = layout.prefix(key, root, folder).parent
        beside = inside.with_name(f"{inside.name}.bin")
        files += [beside] if beside.is_file() else []
        files += sorted(inside.glob("*.bin"))
    for other in files[1:]:
        if other.read_bytes() != files[0].read_bytes():
            raise InputError(
                f"{files[0]} and {other} differ; remove the one that is not gpu_flow's"
            )
    return files[0] if files else None


def _picture_folders(top: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders below `top` with numbered pictures, or without folders; names of these pictures.

    What is hidden is passed over, as `find_videos` does.
    """
    for path, folders, files in os.walk(top, followlinks=True):
        here = Path(path)
        # A link to a folder above it would lead round and round.
        folders[:] = [
            folder
            for folder in folders
            if not folder.startswith(".")
            and not (
                (here / folder).is_symlink()
                and here.resolve().is_relative_to((here / folder).resolve())
            )
        ]
        pictures = [file for file in files if is_numbered_picture(file)]
        if here != top and (pictures or not folders):
            yield here.relative_to(top).as_posix(), pictures
        links = [here / file for file in files if not pictures and (here / file).is_symlink()]
        for link in links:
            if (
                not link.name.startswith(".") and not link.exists()
            ):  # that of a folder, perhaps, which is to be missed
                yield link.relative_to(top).as_posix(), []
