"""Decision values of support vector machines in .mat files, as those of improved trajectories."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from fusion.exchange.formats.external_scores import ExternalScores
from fusion.tables.score_file import four_axes
from twostream_base.errors import InputError

# MATLAB's class -> bytes of an item; of a cell it is the reference to its content.
_ITEM_BYTES = {"double": 8, "single": 4, "int64": 8, "uint64": 8, "int32": 4, "uint32": 4,
               "int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "logical": 1, "cell": 8}  # fmt: skip
# As for .npz: what unpacks to more than this is a bomb.
SMALL, HIGHEST_RATIO, LARGEST = 64 * 2**20, 200, 2 * 2**30


def read_mat_scores(path: Path) -> ExternalScores:
    """Read the one matrix (V, C) of numbers; names and labels where there are any.

    Names are a cell of V texts, labels V whole numbers, from 1 as MATLAB counts. The variables are
    known by these shapes, whatever they are called. Shapes are read and bounded before any content:
    scipy allocates whatever a header promises.

    Raises:
        InputError: not a .mat file of version 5 to 7, damaged or too large; no such matrix or
            several, or several that could be names or labels.
    """
    import scipy.io

    with path.open("rb") as file:
        if file.read(10) == b"MATLAB 7.3":
            raise InputError(f"{path}: a .mat file of version 7.3; save it with `save -v7`")
    try:
        listed = scipy.io.whosmat(str(path))
        understood = [(name, shape, kind) for name, shape, kind in listed if kind in _ITEM_BYTES]
        size = sum(math.prod(shape) * _ITEM_BYTES[kind] for _, shape, kind in understood)
        most = min(max(SMALL, HIGHEST_RATIO * path.stat().st_size), LARGEST)
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
    matrices = [name for name, value in values.items() if _is_matrix(value)]
    if not matrices:
        held = ", ".join(f"{name} {kind} {shape}" for name, shape, kind in listed) or "nothing"
        raise InputError(f"{path}: no matrix (videos, classes); it holds {held}")
    scores = values[_only(matrices, "matrix (videos, classes)", path)]
    rest = {name: value for name, value in values.items() if value.size == len(scores)}
    names = [name for name, value in rest.items() if _texts(value)]
    labels = [name for name, value in rest.items() if _are_labels(value)]
    return ExternalScores(
        path,
        names=_texts(rest[_only(names, "list of names", path)]) if names else None,
        scores=four_axes(scores.astype(np.float32)),
        labels=rest[_only(labels, "list of labels", path)].reshape(-1).astype(np.int64) - 1
        if labels
        else None,
    )


def _is_matrix(value: np.ndarray) -> bool:
    return value.dtype.kind in "fiub" and value.ndim == 2 and min(value.shape) > 1


def _only(names: list[str], what: str, path: Path) -> str:
    if len(names) > 1:
        raise InputError(f"{path}: {' and '.join(names)} could each be the {what}; keep one")
    return names[0]


def _texts(cells: np.ndarray) -> tuple[str, ...] | None:
    """The texts of a cell array; None where it holds anything else, or empty ones."""
    items = [item.reshape(-1) for item in cells.reshape(-1) if isinstance(item, np.ndarray)]
    texts = [str(item[0]) for item in items if item.dtype.kind == "U" and len(item) == 1]
    return tuple(texts) if len(texts) == cells.size and all(texts) else None


def _are_labels(value: np.ndarray) -> bool:
    whole = value.dtype.kind in "fiu" and (value == np.floor(value)).all()
    return bool(whole and (value >= 1).all())
