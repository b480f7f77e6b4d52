"""Which classes are taken for which: the numbers, and the matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fusion.report.svg import drawing, rect, words

_SIZE, _EDGE = 440, 20
_FEW = 20  # so many classes leave room for numbers


class Mistake(NamedTuple):
    """A class that is taken for another in so many of its videos."""

    true: str
    said: str
    videos: int
    of: int


def confusion(scores: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 (true, said) of the labelled videos' first classes."""
    known = labels >= 0
    pairs = labels[known] * classes + scores[known].argmax(axis=1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def top_mistakes(counts: np.ndarray, class_names: Sequence[str], *, most: int) -> list[Mistake]:
    """The commonest mistakes, most videos first."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    places = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = np.stack(np.unravel_index(places, wrong.shape), axis=1).tolist()
    return [
        Mistake(
            class_names[true], class_names[said], int(wrong[true, said]), int(counts[true].sum())
        )
        for true, said in pairs
        if wrong[true, said]
    ]


def matrix_chart(counts: np.ndarray, class_names: Sequence[str]) -> str:
    """A square for each pair of classes that occurs: blue on the diagonal, orange beside it.

    The darker, the larger the share of the class's videos; numbers show under the pointer.
    """
    cell = (_SIZE - _EDGE) / len(class_names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    parts = [
        words(_EDGE, 14, "said class, in the order of the list", kind="title"),
        f'<g transform="rotate(-90)">{words(-_SIZE, 14, "true class", kind="title")}</g>',
        rect(_EDGE, _EDGE, _SIZE - _EDGE, _SIZE - _EDGE, "sheet"),
    ]
    for true, said in np.argwhere(counts).tolist():
        left, top, count = _EDGE + said * cell, _EDGE + true * cell, int(counts[true, said])
        told = f"{class_names[true]}, said {class_names[said]}: {count} videos"
        kind = "right" if true == said else "wrong"
        opacity = 0.15 + 0.85 * float(shares[true, said])
        parts.append(rect(left, top, cell, cell, kind, title=told, opacity=opacity))
        if len(class_names) <= _FEW:
            middle = left + cell / 2, top + cell / 2 + 5
            parts.append(words(*middle, str(count), anchor="middle", kind="count"))
    right, videos = int(np.trace(counts)), int(counts.sum())
    text = f"{right} of {videos} videos lie on the diagonal, where said and true class agree"
    title = "Confusion matrix"
    return drawing(parts, height=_SIZE, width=_SIZE, title=title, text=text)
