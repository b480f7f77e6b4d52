"""MATLAB's .mat files of version 5 to 7: arrays of numbers, texts, and cells of these.

scipy.io reads them too, but allocates whatever a header promises; here nothing larger is built than
the bytes that are there. Format: MathWorks, "MAT-File Format", chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from twostream.errors import InputError

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8",
            12: "i8", 13: "u8"}  # fmt: skip
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _CHAR = 1, 4
_NUMERIC_CLASSES = range(6, 16)
_COMPLEX = 0x0800
_DEEPEST = 3
# As for .npz: what shrinks more than this is a bomb.
SMALL, HIGHEST_RATIO, LARGEST = 64 * 2**20, 200, 2 * 2**30

Value = np.ndarray | str | list[Any]


def read_mat(path: Path) -> dict[str, Value]:
    """The variables of a .mat file: arrays, texts, and lists of these for cells.

    Variables of other classes (structures, sparse, objects) are left out.

    Raises:
        InputError: not such a file, cut short, or one that unpacks to too much.
    """
    data = path.read_bytes()
    order = _byte_order(data, path)
    variables = {}
    try:
        for kind, content in _elements(memoryview(data)[_HEADER:], order):
            matrix = _unpacked(content, order, path) if kind == _COMPRESSED else content
            name, value = _matrix(matrix, order, depth=0)
            if value is not None:
                variables[name] = value
    except (struct.error, zlib.error, ValueError, StopIteration, KeyError) as error:
        raise InputError(f"{path}: a .mat file that is damaged or cut short: {error!r}") from None
    return variables


def _byte_order(data: bytes, path: Path) -> str:
    if data[:10] == b"MATLAB 7.3":
        raise InputError(f"{path}: a .mat file of version 7.3; save it with `save -v7`")
    order = {b"IM": "<", b"MI": ">"}.get(data[_HEADER - 2 : _HEADER])
    if order is None:
        raise InputError(f"{path}: not a .mat file of version 5 to 7")
    return order


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The data elements one after the other: type and content."""
    while len(data):
        kind, size = struct.unpack_from(f"{order}II", data)
        start, short = 8, kind >> 16
        if short:  # type and size share four bytes, the content follows in four more
            kind, size, start = kind & 0xFFFF, short, 4
        content = data[start : start + size]
        if len(content) < size:
            raise ValueError(f"{size} bytes promised, {len(content)} there")
        yield kind, content
        used = start + size
        data = data[used if kind == _COMPRESSED else used + -used % 8 :]


def _unpacked(content: memoryview, order: str, path: Path) -> memoryview:
    most = min(max(SMALL, HIGHEST_RATIO * len(content)), LARGEST)
    data = zlib.decompressobj().decompress(content, most + 1)
    if len(data) > most:
        raise InputError(f"{path}: {len(content):,} bytes unpack to over {most:,}; refused")
    return next(_elements(memoryview(data), order))[1]


def _matrix(data: memoryview, order: str, *, depth: int) -> tuple[str, Value | None]:
    """Name and value of a matrix element; None for a class that is not understood."""
    parts = _elements(data, order)
    (_, flags), (_, dims), (_, name) = next(parts), next(parts), next(parts)
    (flag,) = struct.unpack_from(f"{order}I", flags)
    shape = tuple(np.frombuffer(dims, f"{order}i4").tolist())
    return bytes(name).decode("latin-1"), _value(flag, shape, parts, order, depth)


def _value(
    flag: int,
    shape: tuple[int, ...],
    parts: Iterator[tuple[int, memoryview]],
    order: str,
    depth: int,
) -> Value | None:
    kind = flag & 0xFF
    if kind == _CELL and depth < _DEEPEST:
        cells = [_matrix(content, order, depth=depth + 1)[1] for _, content in parts]
        if len(cells) != math.prod(shape):
            raise ValueError(f"{len(cells)} cells for shape {shape}")
        return cells
    if kind == _CHAR:
        code, content = next(parts)
        return bytes(content).decode(_encoding(code, order))
    if kind in _NUMERIC_CLASSES and not flag & _COMPLEX:
        code, content = next(parts)
        numbers = np.frombuffer(content, np.dtype(_NUMBERS[code]).newbyteorder(order))  # type: ignore[arg-type]
        return numbers.reshape(shape, order="F")
    return None


def _encoding(code: int, order: str) -> str:
    wide = {"<": "-le", ">": "-be"}[order] if _TEXTS[code] in ("utf-16", "utf-32") else ""
    return _TEXTS[code] + wide
