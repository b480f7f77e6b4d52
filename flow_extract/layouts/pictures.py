"""A video in the layout of another tool (`layouts.py`): read like a store file, and written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flow_extract.layouts.layouts import (
    LAYOUTS,
    find_ranges,
    level_range,
    list_flow,
    list_frames,
    to_levels,
)
from flow_extract.store import codecs
from flow_extract.store.header import Header, make_header, recorded_settings
from twostream_base.errors import InputError, some_of
from twostream_base.files import atomic_folder, parse_json, read_text, restore_folder

DEFAULT_QUANTISER = "0-255"
CHUNK = 10  # pairs that are read at one time
# Settings of flow of which we do not know how it was made.
UNKNOWN = {"method": {"name": "unknown", "options": {}}, "short_side": None}


class LayoutEntry:
    """Reader with the interface of `StoreEntry`: flow comes out as our quantiser would have it.

    Where there are more frames or more pairs than fit each other, the first ones are used; `status`
    and `reason` in the header say so. Frames without any flow are all used, and the header has no
    method, as of `extract-flow --method none`. Without any frames `num_frames` is 0; flow can be
    read.

    Args:
        root: of the tree.
        folder: of the video in it; of `layouts.find_tree`.
        layout: key of `LAYOUTS`.
        quantiser: of the pictures, see `layouts.level_range`; `0-255` if not given. Where there is
            a `.bin` of gpu_flow, that decides. What `convert-flow` has written has its own note.
        bound: of that quantiser, in pixels; 20 if not given.
        tree_has_flow: whether there is flow of other videos: then it is said that this one has
            none, and a single frame counts as a video whose flow has no pair.

    Raises:
        InputError: pictures are missing or of several kinds; u and v differ in number, or frames
            and flow in size; two `.bin` differ; `quantiser` or `bound` contradict the note.
    """

    def __init__(
        self,
        root: Path,
        folder: str,
        layout: str,
        *,
        quantiser: str | None = None,
        bound: float | None = None,
        tree_has_flow: bool = True,
    ) -> None:
        place = LAYOUTS[layout]
        self.path = place.prefix("u", root, folder).parent
        frames, first = list_frames(place, root, folder)
        u, v = (list_flow(place.prefix(key, root, folder), first=first) for key in ("u", "v"))
        if u.keys() != v.keys():
            raise InputError(
                f"{folder}: {len(u):,} pictures of u, {len(v):,} of v; these numbers have only one "
                f"of them: {some_of(sorted(u.keys() ^ v.keys()))}; extract this video again"
            )
        self._files = {"rgb": frames, "u": [*u.values()], "v": [*v.values()]}
        for paths in self._files.values():
            if lost := [path.name for path in paths if not path.is_file()]:
                raise InputError(
                    f"{paths[0].parent}: {len(lost):,} of {len(paths):,} pictures are links to "
                    f"nothing, or no files: {some_of(lost)}; extract this video again"
                )
        if not frames and not u:
            prefixes = ", ".join(
                f"{place.prefix(key, root, folder)}*.jpg" for key in ("rgb", "u", "v")
            )
            raise InputError(
                f"{folder}: there are no pictures {prefixes}; extract this video again"
            )
        self.num_frames, self.num_flows, status, reason = _usable(len(frames), len(u))
        without_flow = not u and (len(frames) > 1 or not tree_has_flow)
        if without_flow and tree_has_flow:
            reason = f"no flow, unlike others; its {len(frames):,} frames are stored"

        size: tuple[int, int] | None = None  # that of the first picture of each kind
        for path in (files[0] for files in self._files.values() if files):
            height, width = read_picture(path, cv2.IMREAD_GRAYSCALE, size=size).shape
            size = height, width
        self.size = height, width

        note = read_note(place.sidecar(root, folder)) or {"header": {}}
        quantiser, bound = _quantiser_and_bound(note, self.path, quantiser=quantiser, bound=bound)
        gpu_flow = find_ranges(place, root, folder) if u else None
        if gpu_flow:
            quantiser, self._ranges = ".bin", _read_ranges(gpu_flow, len(u))
        else:
            self._ranges = np.tile(level_range(quantiser, bound=bound), (len(u), 2))
        self._bound = bound
        stats = [path.stat() for paths in self._files.values() for path in paths]
        settings = recorded_settings(note["header"]) or UNKNOWN
        if without_flow:
            settings = settings | {"method": None}
        elif settings["method"] is None:  # flow that was put beside frames of ours
            settings = settings | {"method": UNKNOWN["method"]}
        self.header: Header = make_header(
            settings
            | {
                "quantiser": {"bound": bound, "zero": codecs.ZERO, "scale": codecs.LEVELS / bound},
                "tree": {"layout": layout, "quantiser": quantiser},
            },
            name=folder,
            status=note["header"].get("status", "ok") if status == "ok" else status,
            reason=reason or note["header"].get("reason", ""),
            size={"height": height, "width": width},
            fps=note["header"].get("fps"),
            counts={"promised": len(frames), "frames": self.num_frames, "flows": self.num_flows},
            source={
                "path": folder,
                "size": sum(stat.st_size for stat in stats),
                "mtime_ns": max(stat.st_mtime_ns for stat in stats),
            },
        )

    def read_rgb(self, indices: Sequence[int]) -> np.ndarray:
        """The frames at `indices` (0 is the first): uint8 (len(indices), H, W, 3) RGB."""
        frames = np.empty((len(indices), *self.size, 3), np.uint8)
        for place, index in zip(frames, indices, strict=True):
            place[...] = self._read("rgb", index, cv2.IMREAD_COLOR_RGB)
        return frames

    def read_flow(self, start: int, count: int) -> np.ndarray:
        """`count` neighbouring pairs from `start` on: uint8 (count, H, W, 2), quantised (u, v)."""
        pairs = np.empty((count, *self.size, 2), np.uint8)
        for place, index in zip(pairs, range(start, start + count), strict=True):
            for component, key in enumerate(("u", "v")):
                picture = self._read(key, index, cv2.IMREAD_GRAYSCALE)
                low, high = self._ranges[index, 2 * component : 2 * component + 2]
                pixels = low + np.arange(256) / 255 * (high - low)  # of each level
                place[..., component] = cv2.LUT(picture, codecs.quantize(pixels, bound=self._bound))
        return pairs

    def _read(self, key: str, index: int, flags: int) -> np.ndarray:
        number = self.num_frames if key == "rgb" else self.num_flows
        if not 0 <= index < number:
            raise IndexError(f"{self.path}: {key} {index} is asked for; it has 0..{number - 1}")
        return read_picture(self._files[key][index], flags, size=self.size)


def read_note(path: Path) -> dict[str, Any] | None:
    """What `convert-flow` noted next to the pictures it wrote; None if there is no note.

    Returns:
        Their `quantiser`, and the `header` of what they were made from.

    Raises:
        InputError: it cannot be read.
    """
    if not path.exists():
        return None
    try:
        note = parse_json(read_text(path))
        return {"quantiser": note["quantiser"], "header": note["header"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a valid note; remove this folder, or the file") from error


def _usable(frames: int, flows: int) -> tuple[int, int, str, str]:
    """Frames and pairs that can be used, status and reason.

    Some tools write one more, useless pair for the last frame; that is no damage. Nor are frames
    without any flow.
    """
    if frames == 0 or flows in (0, frames - 1):
        return frames, flows, "ok", ""
    if flows == frames:
        return frames, frames - 1, "ok", "the pair of the last frame is left out"
    used = min(flows, frames - 1)
    return used + 1, used, "damaged", f"{frames} frames but {flows} flow pairs; {used} pairs used"


def _quantiser_and_bound(
    note: dict[str, Any], path: Path, *, quantiser: str | None, bound: float | None
) -> tuple[str, float]:
    """Quantiser and bound that are noted, or asked for, or the defaults."""
    noted_bound = note["header"].get("quantiser", {}).get("bound")
    for what, expected, noted in (
        ("--quantiser", quantiser, note.get("quantiser")),
        ("--bound", bound, noted_bound),
    ):
        if noted is not None and expected not in (None, noted):
            raise InputError(
                f"{path}: written with {what} {noted}, not {expected}; leave out {what}"
            )
    return note.get("quantiser") or quantiser or DEFAULT_QUANTISER, (
        noted_bound or bound or codecs.DEFAULT_BOUND
    )


def _read_ranges(path: Path, flows: int) -> np.ndarray:
    """gpu_flow's min_u, max_u, min_v, max_v of each pair, in pixels: float64 (flows, 4)."""
    ranges = np.fromfile(path, "<f4").astype(np.float64)
    if path.stat().st_size != 16 * flows:
        raise InputError(
            f"{path}: {path.stat().st_size:,} bytes; {flows:,} pairs need {16 * flows:,} "
            "(four float32 each); extract this video again, or remove a file that is not gpu_flow's"
        )
    ranges = ranges.reshape(flows, 4)
    if not np.isfinite(ranges).all() or (ranges[:, ::2] > ranges[:, 1::2]).any():
        raise InputError(f"{path}: no min_u, max_u, min_v, max_v for each pair; remove the file")
    return ranges


def read_picture(path: Path, flags: int, *, size: tuple[int, int] | None) -> np.ndarray:
    """A picture as OpenCV reads it.

    Raises:
        InputError: it is none; or it has another height and width than `size`.
    """
    data = np.fromfile(path, np.uint8)
    picture = cv2.imdecode(data, flags) if data.size else None
    if picture is None:
        raise InputError(f"{path}: {data.size} bytes that are no picture; extract this video again")
    height, width = picture.shape[:2]
    if size and (height, width) != size:
        raise InputError(
            f"{path}: {width} x {height} pixels, others of this video {size[1]} x {size[0]}"
        )
    return picture


def write_layout(
    root: Path, *, name: str, layout: str, entry: Any, quantiser: str = "0-255"
) -> bool:
    """Write a video as pictures, numbered from 1, JPEG 95; False if that had been done before.

    The folder with the u pictures gets its name last, and holds a note (`SIDECAR`): where it is,
    the video is whole.

    Args:
        layout: key of `LAYOUTS`.
        entry: `StoreEntry` or `LayoutEntry`.
        quantiser: of the flow pictures, see `layouts.level_range`; with the bound of `entry`.

    Raises:
        InputError: its folder is there already and was not written by this function.
    """
    place = LAYOUTS[layout]
    note = {"quantiser": quantiser, "header": entry.header}
    sidecar = place.sidecar(root, name)
    if read_note(sidecar) == note:
        return False
    if sidecar.parent.exists() and not sidecar.exists():
        raise InputError(
            f"{sidecar.parent} exists and was not written by convert-flow; remove it, or write "
            "elsewhere"
        )
    prefixes = {key: place.prefix(key, root, name) for key in ("u", "v", "rgb")}
    with ExitStack() as stack:
        new: dict[Path, Path] = {}
        for folder in dict.fromkeys(prefix.parent for prefix in prefixes.values()):
            stack.callback(restore_folder, folder)  # removes what a failure leaves
            new[folder] = stack.enter_context(atomic_folder(folder))
        inside = {key: new[prefix.parent] / prefix.name for key, prefix in prefixes.items()}
        bound = entry.header["quantiser"]["bound"]
        # Of each of our levels, that of the layout.
        pixels = codecs.dequantize(np.arange(256), bound=bound)
        table = to_levels(pixels, *level_range(quantiser, bound=bound))
        for start in range(0, entry.num_flows, CHUNK):
            pairs = entry.read_flow(start, min(CHUNK, entry.num_flows - start))
            for number, pair in enumerate(table[pairs], start + 1):
                _write_picture(inside["u"], number, pair[..., 0], digits=place.digits)
                _write_picture(inside["v"], number, pair[..., 1], digits=place.digits)
        for index in range(entry.num_frames):
            bgr = entry.read_rgb([index])[0][..., ::-1]
            _write_picture(inside["rgb"], index + 1, bgr, digits=place.digits)
        (new[sidecar.parent] / sidecar.name).write_text(json.dumps(note, indent=1, sort_keys=True))
    return True


def remove_unfinished(root: Path, name: str, layout: str) -> None:
    """Remove what a killed process has left of a video; nobody may be writing it."""
    prefixes = (LAYOUTS[layout].prefix(key, root, name) for key in ("u", "v", "rgb"))
    for folder in {prefix.parent for prefix in prefixes}:
        restore_folder(folder)


def _write_picture(prefix: Path, number: int, picture: np.ndarray, *, digits: int) -> None:
    blob = codecs.encode_jpeg(np.ascontiguousarray(picture), codecs.JPEG_QUALITY)
    prefix.with_name(f"{prefix.name}{number:0{digits}}.jpg").write_bytes(blob)
