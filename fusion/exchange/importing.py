"""Scores of other tools become score tables: their rows get names, labels and class names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fusion.exchange.formats.foreign_scores import ForeignScores
from fusion.tables.score_file import UNKNOWN, ScoreTable, check_table
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text


@dataclass(frozen=True)
class VideoList:
    """A data set's list: video names, their labels from 0, and the class names of the labels."""

    names: Sequence[str]
    labels: Sequence[int]
    class_names: Sequence[str] = ()


def import_scores(
    foreign: ForeignScores,
    *,
    about: dict[str, Any],
    listed: VideoList | None = None,
    summed_over: int | None = None,
) -> ScoreTable:
    """Make a table of scores whose rows have names; bring it to a list if there is one.

    With `listed`, videos, their spelling, order and labels are those of the list (names match as
    `match_names` says), and so is the order of the classes: by the class names that the file gives,
    else by its labels, where these number the classes in another way throughout. Without class
    names the classes are "0", "1", ...; `summed_over`: how many logits each score is the sum of.

    Raises:
        InputError: no names in the file, not the same videos or classes as the list, labels that
            contradict it, or a table that is not sound.
    """
    if foreign.names is None:
        raise InputError(
            f"{foreign.path}: holds no video names; say in which order its rows stand "
            "(--order LIST)"
        )
    if listed is not None:
        foreign, facts = _as_listed(foreign, listed)
        about = about | facts
    classes = foreign.class_names or [str(label) for label in range(foreign.scores.shape[-1])]
    unknown = np.full(len(foreign.scores), UNKNOWN, np.int64)
    assert foreign.names is not None
    table = ScoreTable(
        names=tuple(foreign.names),
        class_names=tuple(classes),
        scores=foreign.scores,
        labels=unknown if foreign.labels is None else foreign.labels,
        kind="logit_sum" if summed_over else _kind(foreign.scores),
        about=about | ({"summed_over": summed_over} if summed_over else {}),
    )
    check_table(table, where=str(foreign.path))
    return table


def _as_listed(foreign: ForeignScores, listed: VideoList) -> tuple[ForeignScores, dict[str, Any]]:
    """The scores in the order of the list; and what had to be done for it."""
    assert foreign.names is not None
    rows = match_names(foreign.names, listed.names, path=foreign.path)
    scores, labels = foreign.scores[rows], np.array(listed.labels, np.int64)
    own = None if foreign.labels is None else foreign.labels[rows]
    columns = None
    if foreign.class_names is not None and listed.class_names:
        columns = columns_by_name(foreign.class_names, listed.class_names, path=foreign.path)
        own = None if own is None else _renumbered(own, columns)
    elif own is not None:
        columns = columns_by_labels(own, labels, classes=scores.shape[-1])
        own = own if columns is None else _renumbered(own, columns)
    if own is not None:
        _check_labels(own, labels, listed, foreign)
    facts = {}
    if columns is not None and columns != list(range(len(columns))):
        scores = scores[..., columns]
        facts["class_order"] = "brought into that of the list"
    names = tuple(listed.names)
    class_names = tuple(listed.class_names) or None
    return replace(
        foreign, names=names, scores=scores, labels=labels, class_names=class_names
    ), facts


def _renumbered(labels: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Labels in the new order of classes; -1 picks the last entry, which stays -1."""
    return np.append(np.argsort(columns), UNKNOWN)[labels]


def _check_labels(
    own: np.ndarray, labels: np.ndarray, listed: VideoList, foreign: ForeignScores
) -> None:
    wrong = [
        f"{listed.names[row]} ({labels[row]}, in the file {own[row]})"
        for row in np.flatnonzero((own != labels) & (own != UNKNOWN)).tolist()
    ]
    if wrong:
        raise InputError(
            f"{foreign.path}: {len(wrong)} labels contradict the list: {some_of(wrong)}; check "
            "--dataset, --split and --subset"
        )


def _kind(scores: np.ndarray) -> str:
    """Scores that are never negative and sum to 1 over the classes are probabilities."""
    if (scores >= 0).all() and np.allclose(scores.sum(axis=-1), 1, atol=1e-3):
        return "probs"
    return "logits"


# The rows of a file are found by video name, however each tool spells it.
_SUFFIX = re.compile(r"\.(avi|mp4|mkv|webm|mov|mpe?g|m4v|wmv|flv)$", re.IGNORECASE)


def without_suffix(name: str) -> str:
    """Drop the suffix of a video file, and no other."""
    return _SUFFIX.sub("", name)


def match_names(theirs: Sequence[str], listed: Sequence[str], *, path: Path) -> list[int]:
    """The row of each listed name among their names, which come from the file `path`.

    Names match without case, folder, video suffix and a leading `v_`; with their folders where they
    are the same as in the list.

    Raises:
        InputError: videos that are missing, not listed, or cannot be told apart.
    """
    exact = set(theirs) == set(listed)
    rows = _by_key(theirs, exact=exact, what=f"{path}: videos")
    wanted = _by_key(listed, exact=exact, what="listed videos")
    missing = [listed[index] for key, index in wanted.items() if key not in rows]
    extra = [theirs[index] for key, index in rows.items() if key not in wanted]
    if missing or extra:
        faults = [
            f"{len(videos)} {fault} ({some_of(videos)})"
            for fault, videos in (("missing", missing), ("not listed", extra))
            if videos
        ]
        raise InputError(
            f"{path}: not the {len(listed)} videos of the list: {'; '.join(faults)}; "
            "check --dataset, --split and --subset"
        )
    return [rows[key] for key in wanted]


def _by_key(names: Iterable[str], *, exact: bool, what: str) -> dict[str, int]:
    index: dict[str, int] = {}
    for row, name in enumerate(names):
        key = name if exact else _key(name)
        if key in index:
            raise InputError(f"{what} cannot be told apart by file name: {name!r} comes twice")
        index[key] = row
    return index


def _key(name: str) -> str:
    return without_suffix(PurePosixPath(name).name).casefold().removeprefix("v_")


# Class columns in another order are recognised, by class names or by the labels of the videos.
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


# Lists that name the rows of score files which hold no names.
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
        _check_labels_order_list(labels, order, foreign.path)
    return replace(foreign, names=tuple(name for name, _ in order), labels=labels)


def _numbered_names(places: Sequence[str], path: Path) -> list[str]:
    names = [without_suffix(line.strip()) for line in read_text(path).splitlines()]
    numbers = [PurePosixPath(place).name for place in places]
    for number in numbers:
        if not number.isdecimal() or not 1 <= int(number) <= len(names):
            raise InputError(f"{path}: {number!r} is no line of it; it has {len(names)}")
    return [names[int(number) - 1] for number in numbers]


def _check_labels_order_list(labels: np.ndarray, order: Order, path: Path) -> None:
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
