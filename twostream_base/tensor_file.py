"""Tensor files: safetensors with one JSON header entry and a sha256 for every tensor.

Flow stores, score files and weights are such files. The library of safetensors wants all tensors of
a file in memory to write it, and reads through a memory map, which fetches a little at a time from
a cold disk. Here tensors may be written chunk by chunk, with the bytes that the library would
write, and one `pread` reads any stretch of one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from twostream_base.errors import InputError
from twostream_base.files import atomic_path, parse_json
from twostream_base.heartbeat import beat

# safetensors type -> numpy type, None where numpy has none
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": None,
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_CODES = {name: code for code, name in DTYPES.items() if name}
_ITEM_BYTES = {code: np.dtype(name or "int16").itemsize for code, name in DTYPES.items()}
LARGEST_TABLE = 100_000_000  # bytes, the limit of safetensors
MOST_AXES, MOST_ITEMS = 32, 2**60  # of an array of numpy, also of one without items
_FIRST_READ = 1 << 14  # the table of most files, in one read
_BLOCK = 8 * 2**20


@dataclass(frozen=True)
class FileType:
    """One kind of tensor file."""

    name: str  # what messages call it, as "score file"
    key: str  # of the header in the safetensors metadata
    cure: str  # what to do about a file that is damaged, or is none of these
    format: int | str | None = None  # `header["format"]`; None where the header has no such number
    required: Mapping[str, type] = field(default_factory=dict)  # parts of a header, and their types
    compact: bool = False  # whether the header's JSON has no blanks


class TensorInfo(NamedTuple):
    """Where a tensor is: safetensors type, shape, and its bytes `begin` to `end` in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, eq=False)
class Streamed:
    """A tensor that is written chunk by chunk."""

    dtype: str  # numpy's name of its type, as "float32"
    shape: Sequence[int]  # of the whole tensor
    chunks: Iterable[bytes | np.ndarray]  # of that type, which in a row are the tensor (C order)


class TensorFile:
    """A tensor file, open for reading. May be shared by threads.

    Opening it reads and checks the header and where the tensors are, not the tensors. It is closed
    by `close`, at the end of a `with` block, or once nobody refers to it any more.

    Attributes:
        path: of the file.
        header: the JSON object that the file type keeps in the metadata.
        tensors: what the file holds, by name, in the order on disk.

    Raises:
        InputError: the file is missing, truncated, or of another type or format.
    """

    def __init__(self, path: str | PathLike[str], file_type: FileType) -> None:
        self.path, self.type = Path(path), file_type
        self._seeking = threading.Lock()
        try:
            # Without O_BINARY Windows takes a byte 26 for the end of the file.
            self._handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self._finalizer = weakref.finalize(self, os.close, self._handle)
            self._size = os.fstat(self._handle).st_size
            self._start = self._read_at(_FIRST_READ, 0)
            table, data = self._read_table()
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror or error}") from error
        self.tensors = self._layout(table, data)
        self.header = self._checked_header(table)

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a read then raises OSError. Closing it again does nothing."""
        self._finalizer()
        self._handle = -1  # the number may soon be another file's

    def error(self, fact: str) -> InputError:
        """The error for a file that is not sound: file, `fact`, cure."""
        return InputError(f"{self.path}: not a valid {self.type.name} ({fact}); {self.type.cure}")

    def read(self, key: str) -> np.ndarray:
        """A whole tensor, checked against its sha256.

        Raises:
            InputError: it is not there, damaged, or of a type that numpy does not have.
        """
        info = self._info(key)
        array = np.empty(info.shape, self.numpy_type(key))
        data = array.reshape(-1).view(np.uint8).data
        self._fill(data, info.begin)
        self._compare(key, hashlib.sha256(data).hexdigest())
        return array

    def read_bytes(self, key: str, begin: int, end: int) -> bytes:
        """Bytes `begin` to `end` of a tensor, not checked.

        Raises:
            InputError: the file has become shorter since it was opened.
        """
        start = self.tensors[key].begin
        return self._pread(start + begin, start + end)

    def read_rows(self, key: str, rows: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Some rows of a tensor, along its first axis and in any order, not checked.

        The file is mapped for this one reading, so that its pages are not held.
        """
        info = self._info(key)
        mapped = np.memmap(self.path, self.numpy_type(key), "r", info.begin, info.shape)
        return np.array(mapped[rows]) if isinstance(rows, slice) else np.asarray(mapped[rows])

    def verify(self, key: str) -> None:
        """Check a tensor of any size against its sha256, in little memory.

        Raises:
            InputError: it is damaged.
        """
        info = self._info(key)
        digest, buffer = hashlib.sha256(), memoryview(bytearray(min(_BLOCK, info.end - info.begin)))
        for begin in range(info.begin, info.end, _BLOCK):
            block = buffer[: info.end - begin]
            self._fill(block, begin)
            digest.update(block)
            beat()
        self._compare(key, digest.hexdigest())

    def _info(self, key: str) -> TensorInfo:
        if key not in self.tensors:
            held = ", ".join(self.tensors) or "nothing"
            raise self.error(f"it holds {held}, but no `{key}`")
        return self.tensors[key]

    def numpy_type(self, key: str) -> str:
        """Numpy's name of the type of a tensor.

        Raises:
            InputError: numpy has no such type.
        """
        code = self.tensors[key].dtype
        if not (name := DTYPES.get(code)):
            raise self.error(f"`{key}` is {code}, which numpy does not have")
        return name

    def _compare(self, key: str, digest: str) -> None:
        sums = self.header.get("sha256")
        if not isinstance(sums, dict) or sums.get(key) != digest:
            raise self.error(f"damaged: `{key}` does not match its checksum")

    def _fill(self, data: memoryview, position: int) -> None:
        while len(data):
            if hasattr(os, "preadv"):
                count = os.preadv(self._handle, [data], position)
            else:
                block = self._read_at(min(len(data), _BLOCK), position)
                count = len(block)
                data[:count] = block
            if not count:
                raise self.error(f"truncated while it was read, at byte {position:,}")
            data, position = data[count:], position + count

    def _read_at(self, count: int, position: int) -> bytes:
        """At most `count` bytes; Windows has no read at a position, so threads take turns there."""
        if hasattr(os, "pread"):
            return os.pread(self._handle, count, position)
        with self._seeking:
            os.lseek(self._handle, position, os.SEEK_SET)
            return os.read(self._handle, count)

    def _pread(self, begin: int, end: int) -> bytes:
        if end <= len(self._start):
            return self._start[begin:end]
        parts = []
        while begin < end:
            parts.append(self._read_at(end - begin, begin))
            begin += len(parts[-1])
            if not parts[-1]:
                raise self.error(
                    f"truncated while it was read: it ends at byte {begin:,} of {end:,}"
                )
        return b"".join(parts)

    def _read_table(self) -> tuple[dict[str, Any], int]:
        """What safetensors writes about the tensors, and where the first one begins."""
        length = int.from_bytes(self._start[:8], "little")
        if self._size < 8:
            raise self.error(f"no safetensors file: it has {self._size} bytes")
        if length > min(self._size - 8, LARGEST_TABLE):
            raise self.error(
                "no safetensors file, or truncated: a header length of "
                f"{length:,} in a file of {self._size:,} bytes"
            )
        try:
            table = parse_json(self._pread(8, 8 + length))
        except ValueError as error:
            raise self.error(f"no safetensors file: its header is not JSON, {error}") from error
        if not isinstance(table, dict):
            raise self.error("no safetensors file: its header is not a JSON object")
        return table, 8 + length

    def _layout(self, table: dict[str, Any], data: int) -> dict[str, TensorInfo]:
        """The tensors of the table; they must fill the file without gaps."""
        tensors: dict[str, TensorInfo] = {}
        try:
            for key, entry in table.items():
                if key != "__metadata__":
                    (begin, end), shape = entry["data_offsets"], tuple(entry["shape"])
                    if not all(type(number) is int for number in (begin, end, *shape)):
                        raise TypeError(f"numbers of {key} are not whole")
                    tensors[key] = TensorInfo(entry["dtype"], shape, data + begin, data + end)
            ordered = sorted(tensors.items(), key=lambda item: item[1][2:])
            position = data
            for key, info in ordered:
                size = math.prod(info.shape) * _ITEM_BYTES.get(info.dtype, 0)
                if min(info.shape, default=0) < 0 or info.begin != position or info.end < position:
                    raise ValueError(f"`{key}` lies elsewhere than it should")
                items = math.prod(max(side, 1) for side in info.shape)
                if len(info.shape) > MOST_AXES or items > MOST_ITEMS:
                    raise ValueError(f"`{key}` has no shape that an array can have")
                if info.dtype in _ITEM_BYTES and info.end - info.begin != size:
                    raise ValueError(f"`{key}` has not the bytes of its shape")
                position = info.end
        except (ValueError, TypeError, KeyError) as error:
            raise self.error(f"its table of tensors is damaged: {error}") from error
        if position != self._size:
            raise self.error(
                f"truncated, or longer than its tensors: {self._size:,} bytes, not {position:,}"
            )
        return dict(ordered)

    def _checked_header(self, table: dict[str, Any]) -> dict[str, Any]:
        try:
            header = parse_json(table["__metadata__"][self.type.key])
        except (KeyError, ValueError, TypeError):
            raise self.error("a safetensors file without the header of one") from None
        if not isinstance(header, dict):
            raise self.error("its header is not a JSON object")
        if self.type.format is not None and header.get("format") != self.type.format:
            raise self.error(
                f"format {header.get('format')!r}; this version reads {self.type.format!r}"
            )
        missing = [
            k for k, kind in self.type.required.items() if not isinstance(header.get(k), kind)
        ]
        if missing:
            raise self.error(f"its header lacks {', '.join(missing)}")
        return header


def read_tensor_file(
    path: str | PathLike[str],
    file_type: FileType,
    keys: Sequence[str],
    *,
    optional: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read header and tensors of a file that holds exactly the tensors `keys`, all verified.

    Args:
        optional: tensors that it may hold besides; they are read where they are there.

    Raises:
        InputError: not such a file, or damaged.
    """
    with TensorFile(path, file_type) as file:
        if set(file.tensors) - set(optional) != set(keys):
            held = ", ".join(sorted(file.tensors)) or "nothing"
            raise file.error(f"it holds {held}, not {' and '.join(keys)} alone")
        return file.header, {key: file.read(key) for key in file.tensors}


def write_tensor_file(
    path: Path,
    file_type: FileType,
    header: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray | Streamed],
    *,
    check: Callable[[Path], None] | None = None,
) -> None:
    """Write a tensor file, whole or not at all; the same content gives the same bytes.

    Tensors lie in the order of safetensors: by the size of their items, large ones first, then by
    name.

    Args:
        header: JSON values; `format` and the `sha256` of each tensor are added.
        check: reads the file before it gets its final name; what it raises leaves no file.

    Raises:
        ValueError: a streamed tensor has not the bytes of its shape, or NaN in the header.
    """
    streams = {
        key: tensor
        if isinstance(tensor, Streamed)
        else Streamed(tensor.dtype.name, tensor.shape, [tensor])
        for key, tensor in tensors.items()
    }
    order = sorted(streams, key=lambda key: (-np.dtype(streams[key].dtype).itemsize, key))
    streams = {key: streams[key] for key in order}
    sums = dict.fromkeys(streams, "0" * 64)  # until they are known, when all is written
    preamble = _preamble(file_type, header, streams, sums)
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            file.write(preamble)
            for key, stream in streams.items():
                digest, size = hashlib.sha256(), 0
                for chunk in stream.chunks:
                    data = _bytes_of(chunk)
                    file.write(data)
                    digest.update(data)
                    size += len(data)
                    beat()
                if size != _size(stream):
                    raise ValueError(f"`{key}`: {size} bytes for a tensor of {_size(stream)}")
                sums[key] = digest.hexdigest()
            file.seek(0)
            file.write(_preamble(file_type, header, streams, sums))
        if check:
            check(temporary)


def _size(stream: Streamed) -> int:
    return math.prod(stream.shape) * np.dtype(stream.dtype).itemsize


def _bytes_of(chunk: bytes | np.ndarray) -> bytes | memoryview:
    if isinstance(chunk, bytes):
        return chunk
    return np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data


def _preamble(
    file_type: FileType,
    header: Mapping[str, Any],
    streams: Mapping[str, Streamed],
    sums: Mapping[str, str],
) -> bytes:
    """Length and text at the beginning of a safetensors file, as its own library writes them."""
    entries = {**header, "sha256": sums}
    if file_type.format is not None:
        entries["format"] = file_type.format
    text = json.dumps(
        entries,
        sort_keys=True,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":") if file_type.compact else None,
    )
    table: dict[str, Any] = {"__metadata__": {file_type.key: text}}
    begin = 0
    for key, stream in streams.items():
        end = begin + _size(stream)
        table[key] = {
            "dtype": _CODES[stream.dtype],
            "shape": stream.shape,
            "data_offsets": (begin, end),
        }
        begin = end
    data = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    data += b" " * (-len(data) % 8)
    return len(data).to_bytes(8, "little") + data
