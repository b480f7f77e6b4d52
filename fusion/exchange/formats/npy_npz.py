"""Score files in .npy and .npz: of TSN (`--save_scores`), two-stream-pytorch, and our export."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fusion.exchange.formats.external_scores import (
    ExternalScores,
    check_numbers,
    four_axes,
    integer_labels,
    stack_videos,
)
from fusion.exchange.formats.npz_members import Member, read_members, read_npy
from twostream_base.errors import InputError

_ARRAYS = ("scores", "labels", "names", "class_names")


def read_tsn_npz(path: Path) -> ExternalScores:
    """Read `scores`: (V, C), (V, S, C), (V, S, R, C) numbers, or object rows [scores, label].

    TSN's `--save_scores` writes them.

    Scores of a row are (S, R, classes), raw outputs. `labels` from 0, `names` and `class_names` may
    stand beside them.

    Raises:
        InputError: not such a file, labels that contradict each other, or pickled objects other
            than data.
    """
    members = read_members(path, _ARRAYS)
    if "scores" not in members:
        raise InputError(f"{path}: no array `scores`, which the .npz of a score file has")
    rows, size = members["scores"]
    labels = integer_labels(members["labels"].array, path) if "labels" in members else None
    if rows.dtype.kind == "O":
        scores, row_labels = _object_rows(rows, size, path)
        if labels is not None and not np.array_equal(labels, row_labels):
            raise InputError(f"{path}: the labels in the rows are not those of `labels`")
        labels = row_labels
    else:
        check_numbers(rows, where=f"{path}: `scores`")
        scores = four_axes(rows.astype(np.float32))
    names, class_names = (_texts(members, key, path) for key in ("names", "class_names"))
    return ExternalScores(path, names, scores, labels, class_names)


def read_npy_scores(path: Path) -> ExternalScores:
    """Read a .npy array of numbers (V, C), (V, S, C) or (V, S, R, C), without names or labels.

    bryanyzhu/two-stream-pytorch writes such files.

    Raises:
        InputError: not such an array, or one of objects (these would be a pickle).
    """
    with path.open("rb") as stream:
        scores = read_npy(stream, where=str(path), path=path)
    check_numbers(scores, where=f"{path}: the array")
    return ExternalScores(path, None, four_axes(scores.astype(np.float32)), labels=None)


def _object_rows(rows: np.ndarray, size: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise InputError(f"{path}: object rows of shape {rows.shape}; expected [scores, label]")
    videos = ((f"row {row}", rows[row, 0]) for row in range(len(rows)))
    return stack_videos(videos, path=path, most=size), integer_labels(rows[:, 1], path)


def _texts(members: dict[str, Member], key: str, path: Path) -> tuple[str, ...] | None:
    if key not in members:
        return None
    texts = members[key].array
    if texts.ndim != 1 or texts.dtype.kind != "U":
        raise InputError(
            f"{path}: `{key}` is {texts.dtype} {texts.shape}; expected a list of texts"
        )
    return tuple(texts.tolist())
