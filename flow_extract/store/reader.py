"""Store files: one safetensors file per video, with its frames, its flow and a header.

    rgb           uint8: the encoded frames, one after the other
    rgb_offsets   uint64 (frames + 1): where each begins; the last is the end
    flow          uint8: the encoded pairs (quantised u and v), one after the other
    flow_offsets  uint64 (flows + 1)

The header is JSON, the one metadata entry `twostream`. Equal video and equal settings give equal
bytes. The file `<store>/<name>.safetensors` bears its name only when it is whole."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from flow_extract.store.codecs import CODECS, load_codec
from twostream_base.errors import InputError
from twostream_base.files import path_inside

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


# A store file, open: its header, and reads of any stretch of its four arrays.
#
# The file is a safetensors file. Its own library reads through a memory map, which on a cold disk
# fetches a little at a time, and does not tell where an array lies; here one `pread` brings what is
# wanted, and nothing else. `store.py` says what the arrays are.
FORMAT = "twostream-store-2"
# What a header must have, and what these must have in them.
PARTS: dict[str, set[str]] = {
    **dict.fromkeys(("name", "status", "reason", "codec", "settings_hash", "source"), set()),
    "size": {"height", "width"},
    "counts": {"frames", "flows"},
    "sha256": {"flow_offsets", "rgb_offsets", "flow", "rgb"},
}
# The arrays, in the order in which they lie.
DTYPES = {"flow_offsets": "U64", "rgb_offsets": "U64", "flow": "U8", "rgb": "U8"}
ITEM_BYTES = {"U64": 8, "U8": 1}
# Header and offsets of a video of a few seconds are had in one read.
FIRST_READ = 1 << 14
LARGEST_TABLE = 100_000_000  # bytes, as in safetensors


class StoreFile:
    """May be shared by threads. Closed by `close`, or once nobody refers to it any more.

    Attributes:
        header: of the video.
        sizes: bytes of each array.

    Raises:
        InputError: the file is missing, cut, or no store file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._handle = os.open(path, os.O_RDONLY)
            self._finalizer = weakref.finalize(self, os.close, self._handle)
            self._start = os.pread(self._handle, FIRST_READ, 0)
            table, self._data = self._read_table()
        except OSError as error:
            raise broken(path, str(error)) from error
        self._begins, self.sizes = self._lay_out(table)
        self.header = _header_of(table, path)

    def close(self) -> None:
        """Close the file; a read then raises OSError. Closing it again does nothing."""
        self._finalizer()
        self._handle = -1  # the number may soon be another file's

    def read(self, key: str, begin: int, end: int) -> bytes:
        """Bytes `begin` to `end` of an array.

        Raises:
            InputError: the file has become shorter since it was opened.
        """
        return self._pread(self._begins[key] + begin, self._begins[key] + end)

    def _pread(self, begin: int, end: int) -> bytes:
        if end <= len(self._start):
            return self._start[begin:end]
        parts = []
        while begin < end:
            parts.append(os.pread(self._handle, end - begin, begin))
            begin += len(parts[-1])
            if not parts[-1]:
                raise broken(self.path, f"it ends at byte {begin:,} of {end:,}")
        return b"".join(parts)

    def _read_table(self) -> tuple[Any, int]:
        """What safetensors writes about the arrays, and where the first one begins."""
        size = os.fstat(self._handle).st_size
        length = int.from_bytes(self._start[:8], "little")
        if size < 8 or length > min(size - 8, LARGEST_TABLE):
            raise broken(self.path, f"a beginning of {length:,} bytes in a file of {size:,}")
        try:
            return json.loads(self._pread(8, 8 + length)), 8 + length
        except (ValueError, RecursionError) as error:
            raise broken(self.path, f"its beginning is no JSON: {error}") from error

    def _lay_out(self, table: Any) -> tuple[dict[str, int], dict[str, int]]:
        """Where each array begins, and its bytes; they must fill the file without gaps."""
        begins, sizes, position = {}, {}, 0
        try:
            for key, dtype in DTYPES.items():
                (count,) = table[key]["shape"]
                begins[key], sizes[key] = self._data + position, count * ITEM_BYTES[dtype]
                offsets = [position, position + sizes[key]]
                if table[key] != {"dtype": dtype, "shape": [count], "data_offsets": offsets}:
                    raise ValueError(f"{key} is not as it should be")
                position += sizes[key]
            if table.keys() - {*DTYPES, "__metadata__"} or min(sizes.values()) < 0:
                raise ValueError("there is more than that")
        except (ValueError, TypeError, KeyError) as error:
            raise broken(self.path, f"it should hold {', '.join(DTYPES)}") from error
        if self._data + position != os.fstat(self._handle).st_size:
            raise broken(self.path, "it is longer or shorter than what it should hold")
        return begins, sizes


def broken(path: Path, what: str) -> InputError:
    """The error for a file that is no whole store file."""
    return InputError(f"{path}: not a sound store file ({what}); remove it and extract again")


def _header_of(table: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        header = json.loads(table["__metadata__"]["twostream"])
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise broken(path, "it has no twostream header") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else header
        raise broken(path, f"its format is {found!r}, not {FORMAT!r}")
    for key, parts in PARTS.items():
        if key not in header or (parts and not _has(header[key], parts)):
            raise broken(path, f"its header lacks {key!r}, or a part of it")
    return header


def _has(value: Any, parts: set[str]) -> bool:
    """Whether a part of the header has its own parts; sizes and counts are whole numbers."""
    if not isinstance(value, dict) or not parts <= value.keys():
        return False
    kind = str if "rgb" in parts else int
    return all(type(value[part]) is kind for part in parts)
