"""A store file, open: its header, and reads of any stretch of its four arrays.

The file is a safetensors file. Its own library reads through a memory map, which on a cold disk
fetches a little at a time, and does not tell where an array lies; here one `pread` brings what is
wanted, and nothing else. `store.py` says what the arrays are.
"""

from __future__ import annotations

import json
import os
import weakref
from pathlib import Path
from typing import Any

from twostream.errors import InputError

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
