"""Store files: one safetensors file per video, with its frames, its flow and a header.

    rgb           uint8: the encoded frames, one after the other
    rgb_offsets   uint64 (frames + 1): where each begins; the last is the end
    flow          uint8: the encoded pairs (quantised u and v), one after the other
    flow_offsets  uint64 (flows + 1)

The header is JSON, the one metadata entry `twostream`. Equal video and equal settings give equal
bytes. The file `<store>/<name>.safetensors` bears its name only when it is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from flow_extract.codecs import CODECS, load_codec
from flow_extract.store_file import StoreFile, broken
from twostream.errors import InputError
from twostream.files import path_inside

SUFFIX = ".safetensors"
# What a header says about one video; the rest of it is settings, the same for a whole store.
FACTS = (
    *("format", "name", "status", "reason", "settings_hash", "size", "fps", "counts"),
    *("clipped_share", "source", "decoder", "sha256"),
)


def entry_path(store: Path, name: str) -> Path:
    """Where the store file of a video is, or would be."""
    path = path_inside(store, name)
    return path.with_name(path.name + SUFFIX)


class StoreEntry:
    """Reader of one store file; may be shared by threads.

    The file is closed by `close`, or once nobody refers to the entry any more. Opening costs a
    tenth of a millisecond at most, less than one JPEG: entries are not worth keeping.

    Raises:
        InputError: the file is missing, damaged, or no store file; or its codec needs a library
            that is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = StoreFile(path)
        self.header = self._file.header
        if self.header["codec"] not in CODECS:
            raise broken(path, f"its codec is {self.header['codec']!r}, not {', '.join(CODECS)}")
        codec = load_codec(self.header["codec"])
        self._decoders = {"rgb": codec.decode_rgb, "flow": codec.decode_flow}
        self._offsets = {key: self._checked_offsets(key) for key in ("rgb", "flow")}

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

    def close(self) -> None:
        """Close the file; nothing can be read any more."""
        self._file.close()

    def read_rgb(self, indices: Sequence[int]) -> np.ndarray:
        """The frames at `indices` (0 is the first): uint8 (len(indices), H, W, 3) RGB."""
        return self._read("rgb", indices, channels=3)

    def read_flow(self, start: int, count: int) -> np.ndarray:
        """`count` neighbouring pairs from `start` on: uint8 (count, H, W, 2), quantised (u, v).

        Pair t leads from frame t to t + 1. `quantize.dequantize` makes pixels of it.
        """
        return self._read("flow", range(start, start + count), channels=2)

    def pictures(self, key: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Decode the pictures of `rgb` or `flow` at `indices`, one after the other.

        Neighbours (3 4 5) are read from the disk together.

        Yields:
            uint8 (H, W, C), C as in `read_rgb` and `read_flow`; perhaps a read-only view whose
            channels lie apart.
        """
        for run in _runs(indices):
            for blob in self.blobs(key, run[0], len(run)):
                try:
                    yield self._decoders[key](blob, self.size)
                except ValueError as error:
                    raise InputError(
                        f"{self.path}: damaged, {key} {run[0]}..{run[-1]}: {error}; "
                        "remove it and extract again"
                    ) from error

    def blobs(self, key: str, start: int, count: int) -> list[np.ndarray]:
        """The encoded pictures `start` to `start + count` of `rgb` or `flow`, by one read."""
        offsets = self._offsets[key]
        if start < 0 or start + count >= len(offsets):
            raise IndexError(
                f"{self.path}: {key} {start}..{start + count - 1} are asked for; "
                f"it has 0..{len(offsets) - 2}"
            )
        bounds = offsets[start : start + count + 1].tolist()
        data = np.frombuffer(self._file.read(key, bounds[0], bounds[-1]), np.uint8)
        return [data[a - bounds[0] : b - bounds[0]] for a, b in pairwise(bounds)]

    def _read(self, key: str, indices: Sequence[int], *, channels: int) -> np.ndarray:
        read = np.empty((len(indices), *self.size, channels), np.uint8)
        for place, picture in zip(read, self.pictures(key, indices), strict=True):
            if picture.flags.c_contiguous:
                place[...] = picture
                continue
            for channel in range(channels):  # numpy copies channels that lie apart fast one by one
                place[..., channel] = picture[..., channel]
        return read

    def _checked_offsets(self, key: str) -> np.ndarray:
        """Where each picture begins, and the end of the last one."""
        size = self._file.sizes[f"{key}_offsets"]
        offsets = np.frombuffer(self._file.read(f"{key}_offsets", 0, size), "<u8")
        count = self.header["counts"]["frames" if key == "rgb" else "flows"]
        if not (
            len(offsets) == count + 1
            and (offsets[0], offsets[-1]) == (0, self._file.sizes[key])
            and (offsets[1:] > offsets[:-1]).all()
        ):
            raise broken(self.path, f"its {key}_offsets do not fit its {key}")
        return offsets


def read_header(path: Path) -> dict[str, Any]:
    """The header of a store file, without a look at its frames.

    Raises:
        InputError: as `StoreEntry`.
    """
    return StoreFile(path).header


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


def _runs(indices: Sequence[int]) -> Iterator[list[int]]:
    """Cut indices where one is not the next of the one before: 3 4 7 is [3 4] [7]."""
    run: list[int] = []
    for index in indices:
        if run and index != run[-1] + 1:
            yield run
            run = []
        run.append(index)
    if run:
        yield run
