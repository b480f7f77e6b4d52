"""Score files in .npy and .npz: of TSN (`--save_scores`), two-stream-pytorch, and our export.

And in .mat: decision values of support vector machines, as those of improved trajectories. Arrays
are read with bounded memory; pickled objects in them are read as data alone.
"""

from __future__ import annotations

import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from fusion.exchange.formats.external_scores import ExternalScores, integer_labels, stack_videos
from fusion.exchange.formats.restricted_pickle import load_pickle
from fusion.tables.score_file import check_numbers, four_axes, smallest_float
from twostream_base.errors import InputError

_ARRAYS = ("scores", "labels", "names", "class_names", "groups")
LARGEST_MEMBER = 2 * 2**30
# A small member may shrink a lot (sorted labels do); a large one that does is a zip bomb.
SMALL_MEMBER, HIGHEST_RATIO = 64 * 2**20, 200
# What zipfile raises on damaged archives; OSError where one sends it to a place that is none.
_MALFORMED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    OSError,
)
# Of numpy's reader, which parses the header as Python: nested brackets exhaust its stack.
_HEADER_ERRORS = (ValueError, TypeError, MemoryError, RecursionError)
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# MATLAB's class -> bytes of an item; of a cell it is the reference to its content.
_ITEM_BYTES = {"double": 8, "single": 4, "int64": 8, "uint64": 8, "int32": 4, "uint32": 4,
               "int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "logical": 1, "cell": 8}  # fmt: skip


def read_tsn_npz(path: Path) -> ExternalScores:
    """Read `scores`: (V, C), (V, S, C), (V, S, R, C) numbers, or object rows [scores, label].

    TSN's `--save_scores` writes them.

    Scores of a row are (S, R, classes), raw outputs. `labels` from 0, `names`, `class_names` and
    `groups` may stand beside them.
    """
    members = read_members(path, _ARRAYS)
    if "scores" not in members:
        raise InputError(f"{path}: no array `scores`, which the .npz of a score file has")
    rows, size = members["scores"]
    labels = integer_labels(members["labels"].array, path) if "labels" in members else None
    if rows.dtype.kind == "O":
        if rows.ndim != 2 or rows.shape[1] != 2:
            raise InputError(f"{path}: object rows of shape {rows.shape}; expected [scores, label]")
        videos = ((f"row {row}", scores) for row, scores in enumerate(rows[:, 0]))
        scores = stack_videos(videos, path=path, most=size)
        row_labels = integer_labels(rows[:, 1], path)
        if labels is not None and not np.array_equal(labels, row_labels):
            raise InputError(f"{path}: the labels in the rows are not those of `labels`")
        labels = row_labels
    else:
        check_numbers(rows, where=f"{path}: `scores`")
        scores = four_axes(smallest_float(rows))
    texts = (_texts(members, key, path) for key in ("names", "class_names", "groups"))
    names, class_names, groups = texts
    return ExternalScores(path, names, scores, labels, class_names, groups)


def read_npy_scores(path: Path) -> ExternalScores:
    """Read a .npy array of numbers (V, C), (V, S, C) or (V, S, R, C), without names or labels.

    bryanyzhu/two-stream-pytorch writes such files.
    """
    with path.open("rb") as stream:
        scores = read_npy(stream, where=str(path), path=path)
    check_numbers(scores, where=f"{path}: the array")
    return ExternalScores(path, None, four_axes(smallest_float(scores)), labels=None)


def _texts(members: dict[str, Member], key: str, path: Path) -> tuple[str, ...] | None:
    if key not in members:
        return None
    texts = members[key].array
    if texts.ndim != 1 or texts.dtype.kind != "U":
        raise InputError(
            f"{path}: `{key}` is {texts.dtype} {texts.shape}; expected a list of texts"
        )
    return tuple(texts.tolist())


class Member(NamedTuple):
    """An array of an .npz file, and how many bytes it has there once unpacked."""

    array: np.ndarray
    size: int


def read_members(path: Path, keys: Collection[str]) -> dict[str, Member]:
    """Read the arrays `keys` of an .npz file, those that it has; objects in them are plain data.

    Raises:
        InputError: not such a file, one that unpacks to too much, or objects other than data.
    """
    members: dict[str, Member] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            for name in filter(infos.get, keys):
                info, where = infos[name], f"{path}: {infos[name].filename}"
                packed, size = info.compress_size, info.file_size
                if size > min(LARGEST_MEMBER, max(SMALL_MEMBER, HIGHEST_RATIO * packed)):
                    raise InputError(
                        f"{where} would unpack from {packed:,} to {size:,} bytes; refused"
                    )
                with archive.open(info) as stream:
                    members[name] = Member(read_npy(stream, where=where, path=path), size)
    except InputError:
        raise
    except _MALFORMED as error:
        raise InputError(f"{path}: not an .npz file that can be read: {error}") from None
    return members


def read_npy(stream: IO[bytes], *, where: str, path: Path) -> np.ndarray:
    """Read the array of a .npy stream to its end; `where` starts the messages.

    Raises:
        InputError: the header cannot be read, or promises other than what follows.
    """
    try:
        version = np.lib.format.read_magic(stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of headers that Python 2 wrote
            shape, fortran, dtype = _HEADER_READERS[version](stream)
        if not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError(f"its shape is {shape}; expected whole numbers from 0")
    except (*_HEADER_ERRORS, KeyError, SyntaxError, tokenize.TokenError) as error:
        raise InputError(
            f"{where}: not a .npy array that can be read ({error}); copy it again"
        ) from None
    data = stream.read()
    if dtype.kind == "O":
        array = np.asarray(load_pickle(data, path=path))
        if array.dtype.kind != "O" or array.shape != shape:
            raise InputError(
                f"{where}: the header says objects {shape}, the content is "
                f"{array.dtype} {array.shape}"
            )
        return array
    if dtype.hasobject or len(data) != math.prod(shape) * dtype.itemsize:
        raise InputError(f"{where}: {len(data):,} bytes are not {shape} of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def read_mat_scores(path: Path) -> ExternalScores:
    """Read the one matrix (V, C) of numbers; names and labels where there are any.

    Names are a cell of V texts, labels V whole numbers, from 1 as MATLAB counts. The variables are
    known by these shapes, whatever they are called. Shapes are read and bounded before any content:
    scipy allocates whatever a header promises.
    """
    import scipy.io

    with path.open("rb") as file:
        if file.read(10) == b"MATLAB 7.3":
            raise InputError(f"{path}: a .mat file of version 7.3; save it with `save -v7`")
    try:
        listed = scipy.io.whosmat(str(path))
        understood = [(name, shape, kind) for name, shape, kind in listed if kind in _ITEM_BYTES]
        size = sum(math.prod(shape) * _ITEM_BYTES[kind] for _, shape, kind in understood)
        most = min(max(SMALL_MEMBER, HIGHEST_RATIO * path.stat().st_size), LARGEST_MEMBER)
        if size > most:
            raise InputError(f"{path}: {size:,} bytes of content, over {most:,}; refused")
        understood_names = [name for name, _, _ in understood]
        loaded = (
            scipy.io.loadmat(str(path), variable_names=understood_names) if understood_names else {}
        )
    except InputError:
        raise
    except Exception as error:  # scipy raises of many kinds, its own and Python's
        raise InputError(
            f"{path}: not a .mat file of version 5 to 7, or damaged: {error!r}"
        ) from None
    values: dict[str, np.ndarray] = {name: loaded[name] for name in understood_names}
    matrices = [
        name
        for name, value in values.items()
        if value.dtype.kind in "fiub" and value.ndim == 2 and min(value.shape) > 1
    ]
    if not matrices:
        held = ", ".join(f"{name} {kind} {shape}" for name, shape, kind in listed) or "nothing"
        raise InputError(f"{path}: no matrix (videos, classes); it holds {held}")
    scores = values[_only(matrices, "matrix (videos, classes)", path)]
    rest = {name: value for name, value in values.items() if value.size == len(scores)}
    names = [name for name, value in rest.items() if _cell_texts(value)]
    labels = [
        name
        for name, value in rest.items()
        if value.dtype.kind in "fiu" and ((value == np.floor(value)) & (value >= 1)).all()
    ]
    return ExternalScores(
        path,
        names=_cell_texts(rest[_only(names, "list of names", path)]) if names else None,
        scores=four_axes(smallest_float(scores)),
        labels=rest[_only(labels, "list of labels", path)].reshape(-1).astype(np.int64) - 1
        if labels
        else None,
    )


def _only(names: list[str], what: str, path: Path) -> str:
    if len(names) > 1:
        raise InputError(f"{path}: {' and '.join(names)} could each be the {what}; keep one")
    return names[0]


def _cell_texts(cells: np.ndarray) -> tuple[str, ...] | None:
    """The texts of a cell array; None where it holds anything else, or empty ones."""
    items = [item.reshape(-1) for item in cells.reshape(-1) if isinstance(item, np.ndarray)]
    texts = [str(item[0]) for item in items if item.dtype.kind == "U" and len(item) == 1]
    return tuple(texts) if len(texts) == cells.size and all(texts) else None
