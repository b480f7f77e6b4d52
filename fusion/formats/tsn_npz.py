"""Score files of Temporal Segment Networks (`--save_scores`): .npz with `scores` and `labels`."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from fusion.formats.foreign_scores import ForeignScores, four_axes, stack_videos
from fusion.formats.restricted_pickle import load
from twostream.errors import InputError

LARGEST_MEMBER = 2 * 2**30
# A small member may shrink a lot (sorted labels do); a large one that does is a zip bomb.
SMALL_MEMBER, HIGHEST_RATIO = 64 * 2**20, 200
MOST_CLASSES = 2**31
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_tsn_npz(path: Path) -> ForeignScores:
    """Read `scores`: (V, C), (V, S, C), (V, S, R, C) numbers, or object rows [scores, label].

    Scores of a row are (S, R, classes), raw outputs. `labels`, from 0, may stand beside them.

    Raises:
        InputError: not such a file, labels that contradict each other, or pickled objects other
            than data.
    """
    members = _read_members(path)
    if "scores" not in members:
        raise InputError(f"{path}: no array `scores`; it holds {', '.join(members) or 'nothing'}")
    rows = members["scores"]
    if rows.dtype.kind != "O":
        _check_numbers(rows, path)
        return ForeignScores(path, None, four_axes(rows.astype(np.float32)), _labels(members, path))
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise InputError(f"{path}: object rows of shape {rows.shape}; expected [scores, label]")
    scores = stack_videos(((f"row {row}", rows[row, 0]) for row in range(len(rows))), path=path)
    own = _integers(rows[:, 1], path)
    beside = _labels(members, path)
    if beside is not None and not np.array_equal(own, beside):
        raise InputError(f"{path}: the labels in the rows are not those of `labels`")
    return ForeignScores(path, None, scores, own)


def _check_numbers(scores: np.ndarray, path: Path) -> None:
    if scores.dtype.kind not in "fiu" or not 2 <= scores.ndim <= 4 or scores.size == 0:
        raise InputError(
            f"{path}: `scores` is {scores.dtype} {scores.shape}; expected numbers "
            "(videos, [segments, [crops,]] classes)"
        )


def _labels(members: dict[str, np.ndarray], path: Path) -> np.ndarray | None:
    if "labels" not in members:
        return None
    return _integers(members["labels"].reshape(-1), path)


def _integers(values: np.ndarray, path: Path) -> np.ndarray:
    items = values.tolist()
    if not all(isinstance(item, int | np.integer) and 0 <= item < MOST_CLASSES for item in items):
        raise InputError(f"{path}: labels must be whole numbers, from 0")
    return np.array(items, dtype=np.int64)


def _read_members(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                info.filename.removesuffix(".npy"): _read_member(archive, info, path)
                for info in archive.infolist()
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{path}: not an .npz file that can be read: {error}") from None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    where = f"{path}: {info.filename}"
    bomb = info.file_size > max(SMALL_MEMBER, HIGHEST_RATIO * info.compress_size)
    if bomb or info.file_size > LARGEST_MEMBER:
        raise InputError(
            f"{where} would unpack from {info.compress_size:,} to {info.file_size:,} bytes; refused"
        )
    with archive.open(info) as stream:
        return _read_npy(stream, where=where, path=path)


def _read_npy(stream: IO[bytes], *, where: str, path: Path) -> np.ndarray:
    shape, fortran, dtype = _read_npy_header(stream, where)
    data = stream.read()
    if dtype.kind == "O":
        array = np.asarray(load(data, path=path))
        if array.dtype.kind != "O" or array.shape != shape:
            raise InputError(
                f"{where}: the header says objects {shape}, the content is "
                f"{array.dtype} {array.shape}"
            )
        return array
    if dtype.hasobject or len(data) != math.prod(shape) * dtype.itemsize:
        raise InputError(f"{where}: {len(data):,} bytes are not {shape} of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _read_npy_header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        version = np.lib.format.read_magic(stream)
        return _HEADER_READERS[version](stream)
    except (ValueError, KeyError) as error:
        raise InputError(f"{where}: not a .npy array that can be read: {error}") from None
