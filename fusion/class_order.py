"""Class columns in another order are recognised, by class names or by the labels of the videos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fusion.score_file import UNKNOWN
from twostream.errors import InputError, some_of
from twostream.files import read_text

_NUMBERED = re.compile(r"(\d+)[\s,]+(.+)")


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read a class a line; where all lines are numbered on (`1 Archery`), without the numbers.

    Raises:
        InputError: no classes.
    """
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: names no classes; expected one a line")
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    numbers = [int(found[1]) for found in numbered if found]
    for first in (0, 1):
        if numbers == list(range(first, first + len(lines))):
            return tuple(found[2] for found in numbered if found)
    return tuple(lines)


def columns_by_name(theirs: Sequence[str], listed: Sequence[str], *, path: Path) -> list[int]:
    """Which of their columns is each listed class; names match without case.

    Raises:
        InputError: classes that stand in one of them only.
    """
    column = {name.casefold(): index for index, name in enumerate(theirs)}
    odd = column.keys() ^ {name.casefold() for name in listed}
    if odd or len(theirs) != len(listed):
        raise InputError(
            f"{path}: its {len(theirs)} classes are not the {len(listed)} of the list: "
            f"{some_of(sorted(odd)) or 'some twice'}"
        )
    return [column[name.casefold()] for name in listed]


def columns_by_labels(own: np.ndarray, listed: np.ndarray, *, classes: int) -> list[int] | None:
    """Which of their columns is each listed class, by what both call the same videos.

    `own` and `listed` are the labels (V,) of the same videos, -1 unknown. None where they do not
    tell: two of our classes are one of theirs, the reverse, or classes without videos would have
    to move.
    """
    known = (own != UNKNOWN) & (listed != UNKNOWN)
    pairs = set(zip(listed[known].tolist(), own[known].tolist(), strict=True))
    column = dict(pairs)
    if len(column) < len(pairs) or len(set(column.values())) < len(pairs):
        return None
    columns = [column.get(index, index) for index in range(classes)]
    return columns if sorted(columns) == list(range(classes)) else None
