"""The sections of the report on classes and videos: confusion, gains, won and lost videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fusion.reporting.charts import gain_chart
from fusion.reporting.content import Content
from fusion.reporting.markup import (
    bullet_list,
    details,
    drawing,
    figure,
    paragraph,
    rect,
    section,
    table,
    text,
)

MISTAKES, BARS, NAMES = 15, 12, 200
_SIZE, _EDGE = 440, 20
_FEW = 20  # up to this many classes, cells have room for numbers


def confusion_section(content: Content) -> str:
    """The most common mistakes of the shown result, and the whole matrix."""
    names = content.streams.class_names
    counts = confusion(content.results[content.shown], content.streams.labels, len(names))
    rows = [
        (m.true, m.predicted, f"{m.videos} of {m.of}")
        for m in top_mistakes(counts, names, most=MISTAKES)
    ]
    matrix = (
        '<input class="zoom" type="checkbox" id="zoom"><label for="zoom">enlarge</label>'
        f'<div class="matrix" tabindex="0">{matrix_chart(counts, names)}</div>'
    )
    caption = f"The most common mistakes of {content.shown}"
    return section(
        "confusion",
        "Confusion",
        '<div class="charts">',
        table(("true class", "predicted", "videos"), rows, caption=caption),
        f"<figure>{matrix}<figcaption>All {len(names)} classes: rows are true, columns predicted; "
        "the darker, the larger the share of the class.</figcaption></figure>",
        "</div>",
    )


def classes_section(content: Content) -> str:
    """What the shown result gains and loses in each class against the best stream."""
    best, shown, rows = content.best_stream(), content.shown, content.classes()
    gains = [
        (
            row["class"],
            row["correct"][shown] - row["correct"][best],
            ", ".join(f"{name} {n} of {row['videos']}" for name, n in row["correct"].items()),
        )
        for row in rows
    ]
    ranked = sorted(gains, key=lambda gain: -gain[1])
    up = [gain for gain in ranked if gain[1] > 0][:BARS]
    down = [gain for gain in ranked[::-1] if gain[1] < 0][:BARS]
    charts = [
        figure(gain_chart(bars, title=title, unit="videos"), title)
        for bars, title in (
            (up, f"Classes that {shown} gains most over {best}"),
            (down, "Classes that it loses most"),
        )
        if bars
    ]
    every = table(
        ("class", "videos", best, shown),
        [
            (row["class"], row["videos"], row["correct"][best], row["correct"][shown])
            for row in rows
        ],
    )
    same = paragraph("No class gains or loses a video.") if not charts else ""
    return section(
        "classes", "Gains by class", same, '<div class="charts">', *charts, "</div>",
        details(f"All {len(rows)} classes", every),
    )  # fmt: skip


def videos_section(content: Content) -> str:
    """The videos that fusion wins and loses, by name, and complementarity of the streams."""
    best, shown = content.best_stream(), content.shown
    known = content.streams.labels >= 0
    before, after = content.right(best), content.right(shown)
    won, lost = np.flatnonzero(known & after & ~before), np.flatnonzero(known & before & ~after)
    facts = content.complementarity()
    oracle = facts["oracle"]
    pairs = [
        (f"{pair['first']} and {pair['second']}",
         "-" if pair["q"] is None else f"{pair['q']:+.3f}",
         f"{pair['double_fault']['percent']:.2f} %")
        for pair in facts["pairs"]
    ]  # fmt: skip
    return section(
        "videos",
        "Videos won and lost",
        paragraph(
            f"Against {best} alone, {shown} wins {len(won)} videos and loses {len(lost)}. "
            f"At least one stream is right on {oracle['correct']} of {oracle['of']} "
            f"({oracle['percent']:.2f} %)."
        ),
        table(("streams", "Q", "both wrong"), pairs) if pairs else "",
        _names(content, won, f"{len(won)} videos won"),
        _names(content, lost, f"{len(lost)} videos lost"),
    )


def _names(content: Content, videos: np.ndarray, summary: str) -> str:
    streams, predicted = content.streams, content.results[content.shown].argmax(axis=1)
    texts = [
        f"{streams.names[row]}: {streams.class_names[streams.labels[row]]}"
        + (
            ""
            if predicted[row] == streams.labels[row]
            else f", predicted {streams.class_names[predicted[row]]}"
        )
        for row in videos[:NAMES].tolist()
    ]
    more = [f"and {len(videos) - NAMES} more"] if len(videos) > NAMES else []
    return details(summary, bullet_list([*texts, *more], "names"))


class Mistake(NamedTuple):
    """A class that is predicted as another in `videos` of its videos."""

    true: str
    predicted: str
    videos: int
    of: int


def confusion(scores: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 (true, predicted) of the labelled videos' first classes."""
    known = labels >= 0
    pairs = labels[known] * classes + scores[known].argmax(axis=1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def top_mistakes(counts: np.ndarray, class_names: Sequence[str], *, most: int) -> list[Mistake]:
    """The most common mistakes, most videos first."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    places = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = np.stack(np.unravel_index(places, wrong.shape), axis=1).tolist()
    return [
        Mistake(
            class_names[true],
            class_names[predicted],
            int(wrong[true, predicted]),
            int(counts[true].sum()),
        )
        for true, predicted in pairs
        if wrong[true, predicted]
    ]


def matrix_chart(counts: np.ndarray, class_names: Sequence[str]) -> str:
    """A square for each pair of classes that occurs: blue on the diagonal, orange off it.

    The darker, the larger the share of the class's videos; numbers show under the pointer.
    """
    cell = (_SIZE - _EDGE) / len(class_names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    parts = [
        text(_EDGE, 14, "predicted class, in the order of the list", kind="title"),
        f'<g transform="rotate(-90)">{text(-_SIZE, 14, "true class", kind="title")}</g>',
        rect(_EDGE, _EDGE, _SIZE - _EDGE, _SIZE - _EDGE, "sheet"),
    ]
    for true, predicted in np.argwhere(counts).tolist():
        left, top, count = (
            _EDGE + predicted * cell,
            _EDGE + true * cell,
            int(counts[true, predicted]),
        )
        tooltip = f"{class_names[true]}, predicted {class_names[predicted]}: {count} videos"
        kind = "right" if true == predicted else "wrong"
        opacity = 0.15 + 0.85 * float(shares[true, predicted])
        parts.append(rect(left, top, cell, cell, kind, title=tooltip, opacity=opacity))
        if len(class_names) <= _FEW:
            middle = left + cell / 2, top + cell / 2 + 5
            parts.append(text(*middle, str(count), anchor="middle", kind="count"))
    right, videos = int(np.trace(counts)), int(counts.sum())
    return drawing(
        parts,
        height=_SIZE,
        width=_SIZE,
        title="Confusion matrix",
        description=f"{right} of {videos} videos are on the diagonal, where both classes agree",
    )
