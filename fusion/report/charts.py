"""The charts of the report, each as one inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion.report.markup import (
    WIDTH,
    Axis,
    dot,
    drawing,
    frame,
    line,
    path,
    rect,
    span,
    ticks,
    words,
)

_ROW, _LABELS = 24, 160


def interval_chart(systems: Sequence[Mapping[str, Any]], *, title: str) -> str:
    """Top-1 of results with their 95 % intervals, a row each; `systems` as `compare` gives them."""
    low, high = span([end for system in systems for end in system["interval"]])
    x = Axis(low, high, _LABELS, WIDTH - 12)
    bottom = _ROW * len(systems) + 10
    parts = _vertical_grid(x, bottom)
    for row, system in enumerate(systems):
        y = _ROW * row + 18
        first, last = (x(end) for end in system["interval"])
        parts += [
            words(_LABELS - 8, y + 4, _short(system["name"]), anchor="end"),
            line(first, y, last, y, "whisker"),
            dot(x(system["percent"]), y, "mark", title=_result_text(system)),
        ]
    parts.append(
        words((x.start + x.end) / 2, bottom + 36, "top-1, %", anchor="middle", kind="title")
    )
    text = "; ".join(map(_result_text, systems))
    return drawing(parts, height=bottom + 44, title=title, text=text)


def weight_chart(
    weights: Sequence[float],
    percents: Sequence[float],
    *,
    points: Sequence[tuple[str, float, float]],
    stream: str,
) -> str:
    """Accuracy over the weight of a stream; `points` are (what, weight, percent) to be marked."""
    low, high = span([*percents, *(percent for _, _, percent in points)])
    x, y = Axis(0, 1, 52, WIDTH - 14), Axis(low, high, 250, 30)
    parts = frame(x, y, x_title=f"weight of {stream}, 0 to 1", y_title="top-1, %")
    parts.append(path([(x(w), y(p)) for w, p in zip(weights, percents, strict=True)], "curve"))
    for number, (what, weight, percent) in enumerate(points):
        told = f"{what}: weight {weight:.3f}, {percent:.2f} %"
        kind = ("mark", "mark other", "mark third")[number % 3]
        parts.append(dot(x(weight), y(percent), kind, radius=5, title=told))
        parts += _key(kind, told, row=number, top=306)
    text = "; ".join(f"{what} {weight:.3f}: {percent:.2f} %" for what, weight, percent in points)
    height = 306 + 18 * len(points)
    return drawing(parts, height=height, title=f"Accuracy at every weight of {stream}", text=text)


def reliability_chart(
    stream: str, before: Mapping[str, Any], after: Mapping[str, Any] | None
) -> str:
    """How often answers come true against how sure they are; the diagonal is ideal."""
    x, y = Axis(0, 100, 52, WIDTH - 14), Axis(0, 100, 300, 30)
    parts = frame(x, y, x_title="confidence, %", y_title="right, %")
    parts.append(line(x(0), y(0), x(100), y(100), "ideal"))
    told = []
    for number, (name, facts) in enumerate((("as it is", before), ("calibrated", after))):
        if facts is None or facts["ece"] is None:
            continue
        bins = [b for b in facts["bins"] if b["videos"]]
        places = [(x(100 * b["confidence"]), y(100 * b["accuracy"])) for b in bins]
        kind = ("mark other", "mark")[number]
        parts.append(path(places, ("curve other", "curve")[number]))
        for bin_, (left, top) in zip(bins, places, strict=True):
            tip = f"{bin_['videos']} videos, {100 * bin_['accuracy']:.1f} % right"
            parts.append(dot(left, top, kind, radius=3, title=tip))
        told.append(f"{name}: calibration error {100 * facts['ece']:.1f} %")
        parts += _key(kind, told[-1], row=len(told) - 1, top=356)
    height = 356 + 18 * len(told)
    return drawing(parts, height=height, title=f"Reliability of {stream}", text="; ".join(told))


def gain_chart(rows: Sequence[tuple[str, int, str]], *, title: str, unit: str) -> str:
    """Bars to the right (gained) and left (lost), a row each: label, videos, and what to say."""
    low, high = min(0, *(value for _, value, _ in rows)), max(0, *(value for _, value, _ in rows))
    x = Axis(low, high or 1, _LABELS + 30, WIDTH - 34)
    bottom = _ROW * len(rows) + 8
    parts = [line(x(0), 4, x(0), bottom, "axis")]
    for row, (label, value, told) in enumerate(rows):
        y = _ROW * row + 8
        kind = "gain" if value >= 0 else "loss"
        left, right = sorted((x(0), x(value)))
        parts += [
            words(_LABELS, y + 12, _short(label), anchor="end"),
            rect(left, y, right - left, 16, kind, title=f"{label}: {told}"),
            words(right + 5 if value >= 0 else left - 5, y + 12, f"{value:+d}",
                  anchor="start" if value >= 0 else "end"),
        ]  # fmt: skip
    parts.append(words((x.start + x.end) / 2, bottom + 18, unit, anchor="middle", kind="title"))
    text = "; ".join(f"{label} {value:+d}" for label, value, _ in rows)
    return drawing(parts, height=bottom + 26, title=title, text=text)


def segment_chart(rows: Sequence[Mapping[str, Any]], *, stream: str) -> str:
    """Top-1 of each segment alone, and of all the others without it."""
    alone = [row["alone"]["percent"] for row in rows]
    without = [row["without"]["percent"] for row in rows if row["without"]]
    low, high = span([*alone, *without])
    x, y = Axis(0.5, len(rows) + 0.5, 52, WIDTH - 14), Axis(low, high, 230, 30)
    parts = frame(x, y, x_title="segment, from the first to the last", y_title="top-1, %")
    for name, values, kind in (("alone", alone, ""), ("all others", without, " other")):
        places = [(x(number), y(value)) for number, value in enumerate(values, start=1)]
        if places:
            parts.append(path(places, f"curve{kind}"))
            parts += [dot(*place, f"mark{kind}") for place in places]
            parts += _key(f"mark{kind}", name, row=1 if kind else 0, top=288)
    told = [
        f"segment {row['segment']}: alone {row['alone']['percent']:.2f} %"
        + (f", the others without it {row['without']['percent']:.2f} %" if row["without"] else "")
        for row in rows
    ]
    return drawing(parts, height=316, title=f"Segments of {stream}", text="; ".join(told))


def training_chart(
    series: Mapping[str, Sequence[tuple[float, float]]], *, title: str, unit: str
) -> str:
    """Lines over epochs, by name."""
    points = [point for line_ in series.values() for point in line_]
    low, high = span([value for _, value in points])
    last = max(epoch for epoch, _ in points)
    x, y = Axis(0, max(last, 1), 52, WIDTH - 14), Axis(low, high, 230, 30)
    parts = frame(x, y, x_title="epoch, from 0", y_title=unit)
    told = []
    for number, (name, values) in enumerate(series.items()):
        kind = ("", " other", " third")[number % 3]
        parts.append(path([(x(epoch), y(value)) for epoch, value in values], f"curve{kind}"))
        parts += [dot(x(epoch), y(value), f"mark{kind}", radius=2) for epoch, value in values]
        parts += _key(f"mark{kind}", name, row=number, top=288)
        told.append(f"{name}: from {values[0][1]:.4g} to {values[-1][1]:.4g}")
    height = 288 + 18 * len(series)
    return drawing(parts, height=height, title=title, text="; ".join(told))


def _vertical_grid(x: Axis, bottom: float) -> list[str]:
    parts = []
    for value in ticks(x.low, x.high, about=4):
        parts.append(line(x(value), 4, x(value), bottom, "grid"))
        parts.append(words(x(value), bottom + 18, f"{value:g}", anchor="middle"))
    return parts


def _key(kind: str, text: str, *, row: int, top: float) -> list[str]:
    y = top + 18 * row
    return [dot(60, y, kind, radius=4), words(70, y + 4, text)]


def _result_text(system: Mapping[str, Any]) -> str:
    low, high = system["interval"]
    share = f"{system['correct']} of {system['of']}"
    return f"{system['name']}: {system['percent']:.2f} % ({share}; {low:.2f} to {high:.2f})"


def _short(text: str, limit: int = 20) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
