"""Writing a video as pictures in folders (`layouts.py` describes them)."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from flow_extract.layouts.layouts import LAYOUTS, level_range, to_levels
from flow_extract.layouts.reader import read_note
from flow_extract.store.quantize import dequantize
from twostream_base.errors import InputError
from twostream_base.files import atomic_folder, restore_folder

QUALITY = 95
# Pairs that are read at one time.
CHUNK = 10


def write_layout(
    root: Path, name: str, layout: str, *, entry: Any, quantiser: str = "0-255"
) -> bool:
    """Write a video as pictures, numbered from 1, JPEG 95; False if that had been done before.

    The folder with the u pictures gets its name last, and holds a note (`SIDECAR`): where it is,
    the video is whole.

    Args:
        root: of the tree.
        name: of the video.
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
        pixels = dequantize(np.arange(256), bound=bound)
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
    import cv2

    quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    done, blob = cv2.imencode(".jpg", np.ascontiguousarray(picture), quality)
    if not done:
        raise InputError(f"{prefix}: a picture of {picture.shape[1::-1]} is too large for JPEG")
    prefix.with_name(f"{prefix.name}{number:0{digits}}.jpg").write_bytes(blob.tobytes())
