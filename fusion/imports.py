"""Scores of other tools become score tables: their rows get names, labels and class names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fusion.formats.foreign_scores import ForeignScores
from fusion.score_file import UNKNOWN, ScoreTable, check_table
from twostream.errors import InputError, some_of
from twostream.files import read_text

_SUFFIX = re.compile(r"\.(avi|mp4|mkv|webm|mov|mpe?g|m4v|wmv|flv)$", re.IGNORECASE)
_ROW = re.compile(r"(.+?)(?:\s+(\d+))?(?:\s+(\d+))?")


def import_scores(
    foreign: ForeignScores,
    *,
    names: Sequence[str],
    labels: Sequence[int],
    class_names: Sequence[str] = (),
    about: dict[str, Any],
    summed_over: int | None = None,
) -> ScoreTable:
    """Give scores that carry names the spelling, order and labels of a data set's list.

    Names match without case, folder, video suffix and a leading `v_` (with their folders where
    they are the same as in the list). Without `class_names` the classes are "0", "1", ...;
    `summed_over` says how many logits each score is the sum of.

    Raises:
        InputError: no names in the file, or not the same videos as the list.
    """
    if foreign.names is None:
        raise InputError(
            f"{foreign.path}: holds no video names; say in which order its rows stand "
            "(--order LIST)"
        )
    rows = _match(foreign.names, names, path=foreign.path)
    return _table(
        foreign,
        names=names,
        scores=foreign.scores[rows],
        labels=labels,
        class_names=class_names,
        about=about,
        summed_over=summed_over,
    )


def import_ordered(
    foreign: ForeignScores,
    *,
    order: Sequence[tuple[str, int | None]],
    about: dict[str, Any],
    class_names: Sequence[str] = (),
    summed_over: int | None = None,
) -> ScoreTable:
    """Give scores without names those of `order`: name and label (or None) of each row.

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
    labels = [UNKNOWN if label is None else label for _, label in order]
    if foreign.labels is not None:
        _check_labels(foreign, order)
        labels = foreign.labels.tolist()
    return _table(
        foreign,
        names=[name for name, _ in order],
        scores=foreign.scores,
        labels=labels,
        class_names=class_names,
        about=about,
        summed_over=summed_over,
    )


def read_order(path: Path, *, sort: bool = False) -> list[tuple[str, int | None]]:
    """Read a list of rows: video name (without its suffix), and the label from 0 if there is one.

    The columns are name, number of frames, label. `sort` orders the rows by the bytes of the first
    column, as tools do that sort their lists before scoring.

    Raises:
        InputError: no rows.
    """
    rows = [_ROW.fullmatch(line.strip()) for line in read_text(path).splitlines()]
    columns = [row.groups() for row in rows if row]
    if not columns:
        raise InputError(f"{path}: lists no videos; expected lines of: name [frames [label]]")
    if sort:
        columns.sort(key=lambda row: row[0].encode())
    return [(_SUFFIX.sub("", name), int(label) if label else None) for name, _, label in columns]


def _match(theirs: Sequence[str], listed: Sequence[str], *, path: Path) -> list[int]:
    """The row of each listed name among their names."""
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
    return _SUFFIX.sub("", PurePosixPath(name).name).casefold().removeprefix("v_")


def _check_labels(foreign: ForeignScores, order: Sequence[tuple[str, int | None]]) -> None:
    assert foreign.labels is not None
    wrong = [
        f"{name} ({label}, in the file {own})"
        for (name, label), own in zip(order, foreign.labels.tolist(), strict=True)
        if label not in (None, own)
    ]
    if wrong:
        raise InputError(
            f"{foreign.path}: {len(wrong)} labels contradict the order list: "
            f"{some_of(wrong)}; another list, or try --sort-order"
        )


def _table(
    foreign: ForeignScores,
    *,
    names: Sequence[str],
    scores: np.ndarray,
    labels: Sequence[int],
    class_names: Sequence[str],
    about: dict[str, Any],
    summed_over: int | None,
) -> ScoreTable:
    classes = class_names or [str(label) for label in range(scores.shape[-1])]
    table = ScoreTable(
        names=tuple(names),
        class_names=tuple(classes),
        scores=scores,
        labels=np.array(labels, dtype=np.int64),
        kind="logit_sum" if summed_over else _kind(scores),
        about=about | ({"summed_over": summed_over} if summed_over else {}),
    )
    check_table(table, where=str(foreign.path))
    return table


def _kind(scores: np.ndarray) -> str:
    """Scores that are never negative and sum to 1 over the classes are probabilities."""
    if (scores >= 0).all() and np.allclose(scores.sum(axis=-1), 1, atol=1e-3):
        return "probs"
    return "logits"
