"""Scores of another tool as its reader returns them: scores, and names, labels or both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion.tables.score_file import four_axes, smallest_float
from twostream_base.errors import InputError

MOST_CLASSES = 2**31


@dataclass(frozen=True, eq=False)
class ExternalScores:
    """Scores as another tool left them.

    Attributes:
        path: the file they came from, for messages.
        names: V video names in that tool's spelling, or None.
        scores: float32 or float64 (V, S, R, C), of whatever kind.
        labels: int64 (V,) from 0, -1 where not known, or None.
        class_names: C class names, or None.
        groups: the scene, film or source of each video, or None.
    """

    path: Path
    names: tuple[str, ...] | None
    scores: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None


def stack_videos(videos: Iterable[tuple[str, Any]], *, path: Path, most: int) -> np.ndarray:
    """Stack the scores of each video, given with what to call it, to floats (V, S, R, C).

    One video's scores are (classes,), (segments, classes) or (segments, crops, classes), alike for
    all videos. `most` is the size of the file in bytes: in a pickle, a few bytes can name the same
    long list over and over again, so no more numbers than bytes are taken.

    Raises:
        InputError: no videos, scores that are not numbers, shapes that differ, or too many numbers.
    """
    arrays: list[np.ndarray] = []
    for title, scores in videos:
        most -= _count_numbers(scores, most)
        if most < 0:
            raise InputError(
                f"{path}: {title} unpacks to more numbers than there are bytes, or to lists of "
                "more than 3 levels; refused"
            )
        try:
            array = np.asarray(scores)
        except (ValueError, TypeError):  # lists of unlike lengths
            array = np.empty(0, dtype=object)
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
    return four_axes(smallest_float(np.stack(arrays)))


def _count_numbers(scores: Any, most: int, levels: int = 3) -> int:
    """How many numbers an array or nested lists hold; beyond `most` any count above it."""
    if not isinstance(scores, list | tuple):
        return max(int(np.size(scores)), 1)
    if levels == 0:
        return most + 1
    count = 0
    for item in scores:
        count += _count_numbers(item, most - count, levels - 1)
        if count > most:
            break
    return count


def integer_labels(values: Any, path: Path) -> np.ndarray:
    """Labels from 0, in any array of whole numbers, as int64 (V,).

    Raises:
        InputError: something else than whole numbers from 0.
    """
    items = np.asarray(values).reshape(-1).tolist()
    if not all(isinstance(item, int | np.integer) and 0 <= item < MOST_CLASSES for item in items):
        raise InputError(f"{path}: labels must be whole numbers, from 0")
    return np.array(items, dtype=np.int64)
