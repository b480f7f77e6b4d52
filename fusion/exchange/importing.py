"""Import of other tools' scores: their rows get names, labels and class names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fusion.exchange.formats import SCORE_FORMATS, Reader
from fusion.exchange.formats.external_scores import ExternalScores
from fusion.tables.score_file import UNKNOWN, ScoreTable, check_table, guess_score_type
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text
from twostream_base.plugins import load
from twostream_base.video_names import match_names, without_suffix

Order = Sequence[tuple[str, int | None]]

_ORDER_ROW = re.compile(r"(.+?)(?:\s+(\d+))?(?:\s+(\d+))?")
_NUMBERED_CLASS = re.compile(r"(\d+)[\s,]+(.+)")


@dataclass(frozen=True)
class VideoList:
    """A data set's list: video names, their labels from 0, and the class names of the labels.

    `groups` has the scene, film or source of each video where it is known.
    """

    names: Sequence[str]
    labels: Sequence[int]
    class_names: Sequence[str] = ()
    groups: Sequence[str] | None = None


def import_scores(
    source: str | PathLike[str] | ExternalScores,
    *,
    format: str | Reader | None = None,
    metadata: dict[str, Any] | None = None,
    listed: VideoList | None = None,
    summed_over: int | None = None,
) -> ScoreTable:
    """Make a score table of another tool's scores; bring it to a list if there is one.

    With `listed`, the videos, their spelling, order, labels and groups are those of the list (see
    `match_names`, folders ignored), and so is the order of the classes: by the class names of the
    file, else by its labels, where these number the classes in another way throughout. Without
    class names the classes are "0", "1", ...

    Args:
        source: a file, or what a reader gave.
        format: of a file: a name of `SCORE_FORMATS`, or a function.
        metadata: of the table: stream, dataset, ...
        summed_over: how many logits each score is the sum of.

    Raises:
        InputError: not a file of that format, no names in it, other videos or classes than the
            list, labels that contradict it, or a table that breaks a rule.
    """
    if isinstance(source, ExternalScores):
        scores = source
    elif format is None:
        raise InputError(f"{source}: give its format; known: {', '.join(SCORE_FORMATS)}")
    else:
        reader = load(format, SCORE_FORMATS) if isinstance(format, str) else format
        scores = reader(Path(source))
    if scores.names is None:
        raise InputError(
            f"{scores.path}: holds no video names; name the videos of its rows (--order LIST)"
        )
    facts = dict(metadata or {})
    if listed is not None:
        scores, reordered = _as_listed(scores, listed)
        if reordered:
            facts["class_order"] = "brought into that of the list"
    classes = scores.class_names or [str(label) for label in range(scores.scores.shape[-1])]
    unknown = np.full(len(scores.scores), UNKNOWN, np.int64)
    assert scores.names is not None
    table = ScoreTable(
        names=tuple(scores.names),
        class_names=tuple(classes),
        scores=scores.scores,
        labels=unknown if scores.labels is None else scores.labels,
        score_type="logit_sum" if summed_over else guess_score_type(scores.scores),
        metadata=facts | ({"summed_over": summed_over} if summed_over else {}),
        groups=scores.groups,
    )
    check_table(table, where=str(scores.path))
    return table


def read_order(path: Path, *, sort: bool = False, numbered: Path | None = None) -> Order:
    """Read a list of rows: video name (without its suffix), and the label from 0 if there is one.

    The columns are name, number of frames, label.

    Args:
        sort: order the rows by the bytes of the first column, as tools do that sort their lists
            before scoring.
        numbered: a list of names; the last part of each first column (`brush_hair/11`) is then a
            line number in it, from 1.

    Raises:
        InputError: no rows, or a number beyond the list.
    """
    matches = [_ORDER_ROW.fullmatch(line.strip()) for line in read_text(path).splitlines()]
    rows = [match.groups() for match in matches if match]
    if not rows:
        raise InputError(f"{path}: lists no videos; expected lines of: name [frames [label]]")
    if sort:
        rows.sort(key=lambda row: row[0].encode())
    names = [without_suffix(name) for name, _, _ in rows]
    if numbered:
        listed = [without_suffix(line.strip()) for line in read_text(numbered).splitlines()]
        numbers = [PurePosixPath(name).name for name in names]
        for number in numbers:
            if not number.isdecimal() or not 1 <= int(number) <= len(listed):
                raise InputError(
                    f"{numbered}: {number!r} is not a line of it; it has {len(listed)}"
                )
        names = [listed[int(number) - 1] for number in numbers]
    labels = [int(label) if label else None for _, _, label in rows]
    return list(zip(names, labels, strict=True))


def name_rows(scores: ExternalScores, order: Order) -> ExternalScores:
    """Give the rows of a file without names those of `order`, and its labels where it has none.

    Raises:
        InputError: names in the file, another number of rows, or labels that contradict each other.
    """
    if scores.names is not None:
        raise InputError(f"{scores.path}: holds video names; --order is for files without")
    if len(order) != len(scores.scores):
        raise InputError(
            f"{scores.path}: {len(scores.scores)} rows, but the order lists {len(order)}; is it "
            "the list of another split?"
        )
    labels = scores.labels
    if labels is None:
        labels = np.array([UNKNOWN if label is None else label for _, label in order], np.int64)
    elif wrong := [
        f"{name} ({label}, in the file {in_file})"
        for (name, label), in_file in zip(order, labels.tolist(), strict=True)
        if label not in (None, in_file)
    ]:
        raise InputError(
            f"{scores.path}: {len(wrong)} labels contradict the order list: {some_of(wrong)}; "
            "give another list, or try --sort-order"
        )
    return replace(scores, names=tuple(name for name, _ in order), labels=labels)


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read a class name a line; where the lines are numbered (`1 Archery`), without the numbers.

    Raises:
        InputError: no classes.
    """
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: names no classes; expected one a line")
    matches = [match for line in lines if (match := _NUMBERED_CLASS.fullmatch(line))]
    numbers = [int(match[1]) for match in matches]
    for first in (0, 1):
        if numbers == list(range(first, first + len(lines))):
            return tuple(match[2] for match in matches)
    return tuple(lines)


def columns_by_name(classes: Sequence[str], listed: Sequence[str], *, path: Path) -> list[int]:
    """Which of the file's `classes` is each listed class; names match without case.

    Raises:
        InputError: classes that only one of them has.
    """
    column = {name.casefold(): index for index, name in enumerate(classes)}
    unlike = column.keys() ^ {name.casefold() for name in listed}
    if unlike or len(classes) != len(listed):
        raise InputError(
            f"{path}: its {len(classes)} classes are not the {len(listed)} of the list: "
            f"{some_of(sorted(unlike)) or 'some twice'}"
        )
    return [column[name.casefold()] for name in listed]


def columns_by_labels(in_file: np.ndarray, listed: np.ndarray, *, classes: int) -> list[int] | None:
    """Which of the file's classes is each listed class, by how both label the same videos.

    `in_file` and `listed` are labels (V,), -1 unknown. None where they do not tell: two listed
    classes are one of the file's, the reverse, or classes without videos would have to move.
    """
    known = (in_file != UNKNOWN) & (listed != UNKNOWN)
    pairs = set(zip(listed[known].tolist(), in_file[known].tolist(), strict=True))
    column = dict(pairs)
    if len(column) < len(pairs) or len(set(column.values())) < len(pairs):
        return None
    columns = [column.get(index, index) for index in range(classes)]
    return columns if sorted(columns) == list(range(classes)) else None


def _as_listed(scores: ExternalScores, listed: VideoList) -> tuple[ExternalScores, bool]:
    """The scores with the videos and classes of the list; and whether classes were reordered."""
    rows = _listed_rows(scores, listed)
    values, labels = scores.scores[rows], np.array(listed.labels, np.int64)
    in_file = None if scores.labels is None else scores.labels[rows]
    if in_file is not None and in_file.max(initial=UNKNOWN) >= values.shape[-1]:
        raise InputError(
            f"{scores.path}: label {in_file.max()}, but scores of {values.shape[-1]} classes; "
            "labels count from 0"
        )
    columns = None
    if scores.class_names is not None and listed.class_names:
        columns = columns_by_name(scores.class_names, listed.class_names, path=scores.path)
    elif in_file is not None:
        columns = columns_by_labels(in_file, labels, classes=values.shape[-1])
    if in_file is not None:
        if columns is not None:  # a label of -1 picks the last entry, which is -1
            in_file = np.append(np.argsort(columns), UNKNOWN)[in_file]
        wrong = [
            f"{listed.names[row]} ({labels[row]}, in the file {in_file[row]})"
            for row in np.flatnonzero((in_file != labels) & (in_file != UNKNOWN)).tolist()
        ]
        if wrong:
            raise InputError(
                f"{scores.path}: {len(wrong)} labels contradict the list: {some_of(wrong)}; check "
                "--dataset, --split and --subset"
            )
    groups = None if scores.groups is None else tuple(scores.groups[row] for row in rows)
    reordered = columns is not None and columns != list(range(len(columns)))
    brought = replace(
        scores,
        names=tuple(listed.names),
        scores=values[..., columns] if reordered else values,
        labels=labels,
        class_names=tuple(listed.class_names) or None,
        groups=groups if listed.groups is None else tuple(listed.groups),
    )
    return brought, reordered


def _listed_rows(scores: ExternalScores, listed: VideoList) -> list[int]:
    """The row of each listed video; the file must hold these videos and no others."""
    names = scores.names or ()
    row = {name: index for index, name in enumerate(names)}
    if len(row) < len(names):
        doubled = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"{scores.path}: videos that come twice: {some_of(doubled)}")
    try:
        matches = match_names(listed.names, names, ignore_folders=True)
    except InputError as error:
        raise InputError(f"{scores.path}: {error}") from None
    faults = [
        f"{len(videos)} {fault} ({some_of(videos)})"
        for fault, videos in (
            ("missing", [name for name in listed.names if name not in matches]),
            ("not listed", sorted(row.keys() - set(matches.values()))),
        )
        if videos
    ]
    if faults:
        raise InputError(
            f"{scores.path}: not the {len(listed.names)} videos of the list: {'; '.join(faults)}; "
            "check --dataset, --split and --subset"
        )
    return [row[matches[name]] for name in listed.names]
