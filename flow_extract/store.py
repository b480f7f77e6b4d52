"""Store files: one safetensors file per video, with its frames, its flow and a header.

    rgb           uint8: the encoded frames, one after the other
    rgb_offsets   uint64 (frames + 1): where each begins; the last is the end
    flow          uint8: the encoded pairs (quantised u and v), one after the other
    flow_offsets  uint64 (flows + 1)

The header is JSON, the one metadata entry `twostream`. Equal video and equal settings give equal
bytes. The file `<store>/<name>.safetensors` bears its name only when it is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flow_extract.codecs import CODECS, load_codec
from twostream.errors import InputError
from twostream.files import path_inside

FORMAT = "twostream-store-1"
SUFFIX = ".safetensors"
# What a header says about one video; the rest of it is settings, the same for a whole store.
FACTS = (
    *("format", "name", "status", "reason", "settings_hash", "size", "fps", "counts"),
    *("clipped_share", "source", "decoder", "sha256"),
)
# What a header must have, and what these must have in them.
PARTS: dict[str, set[str]] = {
    **dict.fromkeys(("name", "status", "reason", "codec", "settings_hash", "source"), set()),
    "size": {"height", "width"},
    "counts": {"frames", "flows"},
    "sha256": {"flow_offsets", "rgb_offsets", "flow", "rgb"},
}
DTYPES = {"flow_offsets": "U64", "rgb_offsets": "U64", "flow": "U8", "rgb": "U8"}


def entry_path(store: Path, name: str) -> Path:
    """Where the store file of a video is, or would be."""
    path = path_inside(store, name)
    return path.with_name(path.name + SUFFIX)


class StoreEntry:
    """Reader of one store file; may be shared by threads.

    Raises:
        InputError: the file is missing, damaged, or no store file; or its codec needs a library
            that is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path)
        self.header = _header_of(self._file, path)
        if self.header["codec"] not in CODECS:
            raise _broken(path, f"its codec is {self.header['codec']!r}, not {', '.join(CODECS)}")
        self._codec = load_codec(self.header["codec"])
        self._offsets = {
            key: self._file.get_tensor(f"{key}_offsets").astype(np.int64) for key in ("rgb", "flow")
        }
        self._check_offsets()

    @property
    def num_frames(self) -> int:
        """Number of RGB frames."""
        return len(self._offsets["rgb"]) - 1

    @property
    def num_flows(self) -> int:
        """Number of flow pairs, `num_frames - 1`."""
        return len(self._offsets["flow"]) - 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.header["size"]["height"], self.header["size"]["width"]

    def read_rgb(self, indices: Sequence[int]) -> np.ndarray:
        """The frames at `indices` (0 is the first): uint8 (len(indices), H, W, 3) RGB."""
        pictures = [self._read("rgb", index, 1, self._codec.decode_rgb)[0] for index in indices]
        return np.stack(pictures) if pictures else np.empty((0, *self.size, 3), np.uint8)

    def read_flow(self, start: int, count: int) -> np.ndarray:
        """`count` neighbouring pairs from `start` on: uint8 (count, H, W, 2), quantised (u, v).

        Pair t leads from frame t to t + 1. `quantize.dequantize` makes pixels of it.
        """
        pictures = self._read("flow", start, count, self._codec.decode_flow)
        return np.stack(pictures) if pictures else np.empty((0, *self.size, 2), np.uint8)

    def _read(self, key: str, start: int, count: int, decode: Any) -> list[np.ndarray]:
        offsets = self._offsets[key]
        if min(start, count) < 0 or start + count >= len(offsets):
            raise IndexError(
                f"{self.path}: {key} {start}..{start + count - 1} are asked for; "
                f"it has 0..{len(offsets) - 2}"
            )
        if count == 0:
            return []
        bounds = offsets[start : start + count + 1]
        data = self._file.get_slice(key)[int(bounds[0]) : int(bounds[-1])]
        try:
            return [decode(blob, self.size) for blob in np.split(data, bounds[1:-1] - bounds[0])]
        except ValueError as error:
            raise InputError(
                f"{self.path}: damaged, {key} {start}..{start + count - 1}: {error}; "
                "remove it and extract again"
            ) from error

    def _check_offsets(self) -> None:
        for key, counted in (("rgb", "frames"), ("flow", "flows")):
            offsets, length = self._offsets[key], self._file.get_slice(key).get_shape()[0]
            if not (
                len(offsets) == self.header["counts"][counted] + 1
                and (offsets[0], offsets[-1]) == (0, length)
                and (np.diff(offsets) > 0).all()
            ):
                raise _broken(self.path, f"its {key}_offsets do not fit its {key}")


def read_header(path: Path) -> dict[str, Any]:
    """The header of a store file, without a look at its frames.

    Raises:
        InputError: as `StoreEntry`.
    """
    return _header_of(_open(path), path)


def recorded_settings(header: dict[str, Any]) -> dict[str, Any]:
    """The settings that a header records: what its `settings_hash` is the hash of."""
    return {key: value for key, value in header.items() if key not in FACTS}


def scan_store(store: Path) -> dict[str, dict[str, Any]]:
    """Name -> header of every store file, sorted by name. Reads headers only.

    Raises:
        InputError: no such folder; or a store file is damaged, or bears the name of another video.
    """
    headers = {}
    for name, path in entry_paths(store).items():
        headers[name] = read_header(path)
        if headers[name].get("name") != name:
            raise InputError(
                f"{path}: it was written for {headers[name].get('name')!r}; "
                "rename it back, or remove it and extract again"
            )
    return headers


def entry_paths(store: Path, suffix: str = SUFFIX) -> dict[str, Path]:
    """Name -> path of the files below `store` that end in `suffix`, sorted by name."""
    if not store.is_dir():
        raise InputError(f"{store}: no such store; `twostream extract-flow` makes one")
    paths = (Path(folder, file) for folder, _, files in os.walk(store) for file in files)
    named = {path.relative_to(store).as_posix(): path for path in paths}
    return {key.removesuffix(suffix): named[key] for key in sorted(named) if key.endswith(suffix)}


def _open(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="numpy")
        found = {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _broken(path, str(error)) from error
    if found != DTYPES:
        raise _broken(path, f"it should hold {', '.join(DTYPES)}")
    return file


def _header_of(file: Any, path: Path) -> dict[str, Any]:
    try:
        header = json.loads((file.metadata() or {})["twostream"])
    except (KeyError, ValueError) as error:
        raise _broken(path, "it has no twostream header") from error
    if header.get("format") != FORMAT:
        raise _broken(path, f"its format is {header.get('format')!r}, not {FORMAT!r}")
    for key, parts in PARTS.items():
        if key not in header or not parts <= set(header[key]):
            raise _broken(path, f"its header lacks {key!r}, or a part of it")
    return header


def _broken(path: Path, what: str) -> InputError:
    return InputError(f"{path}: not a sound store file ({what}); remove it and extract again")
