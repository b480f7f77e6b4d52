"""Scores of other tools become score tables: their rows get names, labels and class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fusion.class_order import columns_by_labels, columns_by_name
from fusion.formats.foreign_scores import ForeignScores
from fusion.name_matching import match_names
from fusion.score_file import UNKNOWN, ScoreTable, check_table
from twostream.errors import InputError, some_of


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
