"""Reading stores: one safetensors file a video, with its frames, its flow and a header.

    rgb           uint8: the encoded frames, one after the other
    rgb_offsets   uint64 (frames + 1): where each begins; the last is the end
    flow          uint8: the encoded pairs (quantised u and v), one after the other
    flow_offsets  uint64 (flows + 1)

The header is JSON, the one metadata entry `twostream`. Equal video and equal settings give equal
bytes. The file `<store>/<name>.safetensors` has that name only when it is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import cast

import numpy as np

from flow_extract.store.codecs import CODECS, load_codec
from flow_extract.store.header import Header
from twostream_base.errors import InputError
from twostream_base.files import path_inside
from twostream_base.tensor_file import FileType, Streamed, TensorFile

SUFFIX = ".safetensors"
PROBLEM_SUFFIX = ".problem.json"
STORE_FILE = FileType(
    name="store file",
    key="twostream",
    cure="remove it and extract again",
    format="twostream-store-2",
    required=dict.fromkeys(("name", "status", "reason", "codec", "settings_hash"), str)
    | dict.fromkeys(("source", "size", "counts", "sha256"), dict),
    compact=True,
)
STREAM_BLOCK = 2**20  # bytes
ARRAYS = {"flow_offsets": "U64", "rgb_offsets": "U64", "flow": "U8", "rgb": "U8"}


def entry_path(store: str | PathLike[str], name: str, suffix: str = SUFFIX) -> Path:
    """Where the store file of a video is, or would be; or its problem file (`PROBLEM_SUFFIX`)."""
    path = path_inside(Path(store), name)
    return path.with_name(path.name + suffix)


def open_entry(store: str | PathLike[str], name: str) -> StoreEntry:
    """Open the store file of a video; see `StoreEntry`."""
    return StoreEntry(entry_path(store, name))


class StoreEntry:
    """Reader of one store file; may be shared by threads.

    The file is closed by `close`, or once nobody refers to the entry any more. Opening costs a
    tenth of a millisecond, less than decoding one JPEG: entries are not worth keeping.

    Raises:
        InputError: the file is missing, damaged, or no store file; or its codec needs a library
            that is not installed.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._file = _open(path)
        self.path = self._file.path
        self.header = cast(Header, self._file.header)
        if self.header["codec"] not in CODECS:
            raise self._file.error(
                f"its codec is {self.header['codec']!r}, not {', '.join(CODECS)}"
            )
        codec = load_codec(self.header["codec"])
        self._decoders = {"rgb": codec.decode_rgb, "flow": codec.decode_flow}
        counts = self.header["counts"]
        self._offsets = {
            "rgb": self._read_offsets("rgb", counts["frames"]),
            "flow": self._read_offsets("flow", counts["flows"]),
        }

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

        Pair t leads from frame t to t + 1. `codecs.dequantize` turns it into pixels.
        """
        return self._read("flow", range(start, start + count), channels=2)

    def pictures(self, key: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Decode the pictures of `rgb` or `flow` at `indices`, one after the other.

        Neighbours (3 4 5) are read from the disk together.

        Yields:
            uint8 (H, W, C), C as in `read_rgb` and `read_flow`; perhaps a read-only view whose
            channels are apart in memory.
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
        data = np.frombuffer(self._file.read_bytes(key, bounds[0], bounds[-1]), np.uint8)
        return [data[a - bounds[0] : b - bounds[0]] for a, b in pairwise(bounds)]

    def stream(self, key: str) -> Streamed:
        """An array as it is in the file, to be written into another one."""
        array = self._file.tensors[key]
        end = array.end - array.begin
        blocks = (
            self._file.read_bytes(key, begin, min(begin + STREAM_BLOCK, end))
            for begin in range(0, end, STREAM_BLOCK)
        )
        return Streamed(self._file.numpy_type(key), array.shape, blocks)

    def changed_arrays(self) -> list[str]:
        """The arrays whose content is not that of their sha256; reads the whole file."""
        changed = []
        for key in ARRAYS:
            try:
                self._file.verify(key)
            except InputError:
                changed.append(key)
        return changed

    def _read(self, key: str, indices: Sequence[int], *, channels: int) -> np.ndarray:
        read = np.empty((len(indices), *self.size, channels), np.uint8)
        for place, picture in zip(read, self.pictures(key, indices), strict=True):
            if picture.flags.c_contiguous:
                place[...] = picture
                continue
            for channel in range(channels):  # numpy copies separate channels fast one by one
                place[..., channel] = picture[..., channel]
        return read

    def _read_offsets(self, key: str, count: int) -> np.ndarray:
        """Where each of `count` pictures begins, and the end of the last one."""
        array, data = self._file.tensors[f"{key}_offsets"], self._file.tensors[key]
        offsets = np.frombuffer(
            self._file.read_bytes(f"{key}_offsets", 0, array.end - array.begin), "<u8"
        )
        if not (
            len(offsets) == count + 1
            and (offsets[0], offsets[-1]) == (0, data.end - data.begin)
            and (offsets[1:] > offsets[:-1]).all()
        ):
            raise self._file.error(f"its {key}_offsets do not fit its {key}")
        return offsets


def read_header(path: str | PathLike[str]) -> Header:
    """The header of a store file, without a look at its frames.

    Raises:
        InputError: as `StoreEntry`.
    """
    with _open(path) as file:
        return cast(Header, file.header)


def scan_store(store: str | PathLike[str]) -> dict[str, Header]:
    """Name -> header of every store file, sorted by name. Reads headers only.

    Raises:
        InputError: no such folder; or a store file is damaged, or is that of another video.
    """
    headers = {}
    for name, path in entry_paths(store).items():
        headers[name] = read_header(path)
        if headers[name]["name"] != name:
            raise InputError(
                f"{path}: it was written for {headers[name]['name']!r}; "
                "rename it back, or remove it and extract again"
            )
    return headers


def entry_paths(store: str | PathLike[str], suffix: str = SUFFIX) -> dict[str, Path]:
    """Name -> path of the files below `store` that end in `suffix`, sorted by name."""
    store = Path(store)
    if not store.is_dir():
        raise InputError(f"{store}: no such store; `twostream extract-flow` makes one")
    paths = (Path(folder, file) for folder, _, files in os.walk(store) for file in files)
    named = {path.relative_to(store).as_posix(): path for path in paths}
    return {key.removesuffix(suffix): named[key] for key in sorted(named) if key.endswith(suffix)}


def _open(path: str | PathLike[str]) -> TensorFile:
    """A store file whose header and arrays have the right parts."""
    file = TensorFile(path, STORE_FILE)
    arrays = {key: info.dtype for key, info in file.tensors.items() if len(info.shape) == 1}
    if arrays != ARRAYS or len(file.tensors) != len(ARRAYS):
        raise file.error(f"it should hold {', '.join(ARRAYS)}, one axis each")
    for key, parts, kind in (
        ("size", ("height", "width"), int),
        ("counts", ("frames", "flows"), int),
        ("sha256", ARRAYS, str),
    ):
        if not all(type(file.header[key].get(part)) is kind for part in parts):
            raise file.error(f"its header lacks a part of {key!r}")
    return file


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
