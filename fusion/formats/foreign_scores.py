"""What a score file of another tool gives: scores, and either names or labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twostream.errors import InputError


@dataclass(frozen=True, eq=False)
class ForeignScores:
    """Scores as another tool left them.

    Attributes:
        path: the file they came from, for messages.
        names: V video names in that tool's spelling, or None.
        scores: float32 (V, S, R, C), of whatever kind.
        labels: int64 (V,) from 0, or None.
    """

    path: Path
    names: tuple[str, ...] | None
    scores: np.ndarray
    labels: np.ndarray | None


def stack_videos(videos: Iterable[tuple[str, Any]], *, path: Path) -> np.ndarray:
    """Stack the scores of each video, given with what to call it, to float32 (V, S, R, C).

    One video's scores are (classes,), (segments, classes) or (segments, crops, classes), alike for
    all videos.

    Raises:
        InputError: no videos, scores that are not numbers, or shapes that differ.
    """
    arrays: list[np.ndarray] = []
    for title, scores in videos:
        array = _as_array(scores)
        if array.dtype.kind not in "fiu" or not 1 <= array.ndim <= 3:
            raise InputError(
                f"{path}: {title} has {array.dtype} scores of shape {array.shape}; "
                "expected numbers (classes,), (S, classes) or (S, crops, classes)"
            )
        if arrays and array.shape != arrays[0].shape:
            raise InputError(
                f"{path}: {title} has scores of shape {array.shape}, those before it "
                f"{arrays[0].shape}; all videos must have the same"
            )
        arrays.append(array)
    if not arrays:
        raise InputError(f"{path}: holds no videos")
    return four_axes(np.stack(arrays).astype(np.float32))


def _as_array(scores: Any) -> np.ndarray:
    try:
        return np.asarray(scores)
    except (ValueError, TypeError):  # lists of unlike lengths
        return np.empty(0, dtype=object)


def four_axes(scores: np.ndarray) -> np.ndarray:
    """Bring (V, C), (V, S, C) or (V, S, R, C) to (V, S, R, C)."""
    if scores.ndim == 2:
        return scores[:, None, None]
    return scores[:, :, None] if scores.ndim == 3 else scores
