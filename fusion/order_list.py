"""Lists that name the rows of score files which hold no names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from fusion.formats.foreign_scores import ForeignScores
from fusion.name_matching import without_suffix
from fusion.score_file import UNKNOWN
from twostream.errors import InputError, some_of
from twostream.files import read_text

_ROW = re.compile(r"(.+?)(?:\s+(\d+))?(?:\s+(\d+))?")

Order = Sequence[tuple[str, int | None]]


def read_order(
    path: Path, *, sort: bool = False, numbered: Path | None = None
) -> list[tuple[str, int | None]]:
    """Read a list of rows: video name (without its suffix), and the label from 0 if there is one.

    The columns are name, number of frames, label. `sort` orders the rows by the bytes of the first
    column, as tools do that sort their lists before scoring. With `numbered`, a list of names, the
    last part of each first column is a line number in it, from 1 (`brush_hair/11`).

    Raises:
        InputError: no rows, or a number beyond the list.
    """
    rows = [_ROW.fullmatch(line.strip()) for line in read_text(path).splitlines()]
    columns = [row.groups() for row in rows if row]
    if not columns:
        raise InputError(f"{path}: lists no videos; expected lines of: name [frames [label]]")
    if sort:
        columns.sort(key=lambda row: row[0].encode())
    names = [without_suffix(name) for name, _, _ in columns]
    if numbered:
        names = _numbered_names(names, numbered)
    labels = [int(label) if label else None for _, _, label in columns]
    return list(zip(names, labels, strict=True))


def name_rows(foreign: ForeignScores, order: Order) -> ForeignScores:
    """Give the rows of a file without names those of `order`, and its labels where it has none.

    Raises:
        InputError: names in the file, another number of rows, or labels that contradict each other.
    """
    if foreign.names is not None:
        raise InputError(f"{foreign.path}: holds video names; --order is for files without")
    if len(order) != len(foreign.scores):
        raise InputError(
            f"{foreign.path}: {len(foreign.scores)} rows, but the order lists "
            f"{len(order)}; is it the list of another split?"
        )
    labels = foreign.labels
    if labels is None:
        labels = np.array([UNKNOWN if label is None else label for _, label in order], np.int64)
    else:
        _check_labels(labels, order, foreign.path)
    return replace(foreign, names=tuple(name for name, _ in order), labels=labels)


def _numbered_names(places: Sequence[str], path: Path) -> list[str]:
    names = [without_suffix(line.strip()) for line in read_text(path).splitlines()]
    numbers = [PurePosixPath(place).name for place in places]
    for number in numbers:
        if not number.isdecimal() or not 1 <= int(number) <= len(names):
            raise InputError(f"{path}: {number!r} is no line of it; it has {len(names)}")
    return [names[int(number) - 1] for number in numbers]


def _check_labels(labels: np.ndarray, order: Order, path: Path) -> None:
    wrong = [
        f"{name} ({label}, in the file {own})"
        for (name, label), own in zip(order, labels.tolist(), strict=True)
        if label not in (None, own)
    ]
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} labels contradict the order list: "
            f"{some_of(wrong)}; another list, or try --sort-order"
        )
