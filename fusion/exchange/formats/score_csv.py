"""Score tables as CSV, for spreadsheets and other languages: a row a video, a column a class."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fusion.exchange.formats.external_scores import ExternalScores, stack_videos
from fusion.tables.score_file import UNKNOWN
from twostream_base.errors import InputError
from twostream_base.files import read_text


def read_score_csv(path: Path) -> ExternalScores:
    """Read a CSV whose first line is `name,label,` and the class names; `label` may be left out.

    A label is a class name, a number from 0, or empty where it is not known.

    Raises:
        InputError: another heading, a row of another length, or a cell that is no number or class.
    """
    text = read_text(path)
    heading, *rows = _cells(text, path)
    labelled = heading[1:2] == ["label"]
    class_names = tuple(heading[2 if labelled else 1 :])
    if heading[0] != "name" or not class_names:
        raise InputError(f"{path}: the first line must be `name,label,` and the class names")
    scores, labels = [], []
    for number, row in enumerate(rows, start=2):
        where = f"{path}: line {number}"
        if len(row) != len(heading):
            raise InputError(f"{where}: {len(row)} cells; the heading has {len(heading)}")
        scores.append((f"line {number}", _numbers(row[-len(class_names) :], where)))
        labels.append(_label(row[1], class_names, where) if labelled else UNKNOWN)
    return ExternalScores(
        path,
        names=tuple(row[0] for row in rows),
        scores=stack_videos(scores, path=path, most=len(text)),
        labels=np.array(labels, np.int64) if labelled else None,
        class_names=class_names,
    )


def _cells(text: str, path: Path) -> list[list[str]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file that can be read: {error}") from None
    return rows or [[""]]


def _numbers(cells: Sequence[str], where: str) -> list[float]:
    try:
        return [float(cell) for cell in cells]
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _label(cell: str, class_names: Sequence[str], where: str) -> int:
    if not cell:
        return UNKNOWN
    if cell in class_names:
        return class_names.index(cell)
    if cell.isdecimal() and int(cell) < len(class_names):
        return int(cell)
    raise InputError(f"{where}: label {cell!r} is neither a class of the heading nor its number")
