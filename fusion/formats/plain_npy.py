"""Score files that are one array, as bryanyzhu/two-stream-pytorch saves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fusion.formats.foreign_scores import ForeignScores, check_numbers, four_axes
from fusion.formats.npz_members import read_npy


def read_npy_scores(path: Path) -> ForeignScores:
    """Read a .npy array of numbers (V, C), (V, S, C) or (V, S, R, C), without names or labels.

    Raises:
        InputError: not such an array, or one of objects (these would be a pickle).
    """
    with path.open("rb") as stream:
        scores = read_npy(stream, where=str(path), path=path)
    check_numbers(scores, where=f"{path}: the array")
    return ForeignScores(path, None, four_axes(scores.astype(np.float32)), labels=None)
