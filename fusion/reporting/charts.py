"""The charts of the report, each as one inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion.evaluation.results import interval_text
from fusion.reporting import markup

_ROW, _LABELS = 24, 176


def interval_chart(
    systems: Sequence[Mapping[str, Any]], *, title: str, reference: str | None = None
) -> str:
    """Top-1 of results with their 95 % intervals, a row each; `systems` as `compare` gives them.

    A dashed line goes through the result that is called `reference`.
    """
    low, high = markup.span([end for system in systems for end in system["interval"]])
    x = markup.Axis(low, high, _LABELS, markup.WIDTH - 12)
    bottom = _ROW * len(systems) + 10
    parts = _vertical_grid(x, bottom)
    for system in systems:
        if system["name"] == reference:
            place = x(system["percent"])
            parts.append(markup.line(place, 4, place, bottom, "ideal"))
    for row, system in enumerate(systems):
        y = _ROW * row + 18
        first, last = (x(end) for end in system["interval"])
        parts += [
            markup.text(_LABELS - 8, y + 4, _short(system["name"]), anchor="end"),
            markup.line(first, y, last, y, "whisker"),
            markup.circle(x(system["percent"]), y, "mark", title=_result_text(system)),
        ]
    parts.append(
        markup.text((x.start + x.end) / 2, bottom + 36, "top-1, %", anchor="middle", kind="title")
    )
    description = "; ".join(map(_result_text, systems))
    return markup.drawing(parts, height=bottom + 44, title=title, description=description)


def cost_chart(forms: Sequence[Mapping[str, Any]], *, worth: str | None) -> str:
    """Top-1 with its 95 % interval over milliseconds a video; `forms` as `weigh_forms` has them."""
    low, high = markup.span([end for form in forms for end in form["interval"]])
    most = max(form["milliseconds"] for form in forms)
    x, y = markup.Axis(0, 1.05 * most, 52, markup.WIDTH - 14), markup.Axis(low, high, 250, 30)
    parts = markup.frame(x, y, x_title="milliseconds a video", y_title="top-1, %")
    lines, costs = [], [form["milliseconds"] for form in forms]
    for number, form in enumerate(forms):
        kind, cost = "mark" if form["name"] == worth else "mark other", form["milliseconds"]
        # Late fusions cost the same: side by side, a few pixels apart.
        aside = costs[:number].count(cost) - (costs.count(cost) - 1) / 2
        place, label = x(cost) + 12 * aside, f"{cost:.1f} ms; "
        lines.append(f"{number + 1}: {label}{_result_text(form)}")
        first, last = (y(end) for end in form["interval"])
        parts += [
            markup.line(place, first, place, last, "whisker"),
            markup.circle(place, y(form["percent"]), kind, title=lines[-1]),
            markup.text(place - 4, last - 6, str(number + 1)),
        ]
        parts += _key(kind, f"{number + 1}: {form['name']}", row=number, top=306)
    return markup.drawing(
        parts,
        height=306 + 18 * len(forms),
        title="Accuracy of the forms against their cost",
        description="; ".join(lines),
    )


def weight_chart(
    weights: Sequence[float],
    percents: Sequence[float],
    *,
    points: Sequence[tuple[str, float, float]],
    stream: str,
) -> str:
    """Accuracy over the weight of a stream; `points` are (what, weight, percent) to mark."""
    low, high = markup.span([*percents, *(percent for _, _, percent in points)])
    x, y = markup.Axis(0, 1, 52, markup.WIDTH - 14), markup.Axis(low, high, 250, 30)
    parts = markup.frame(x, y, x_title=f"weight of {stream}, 0 to 1", y_title="top-1, %")
    parts.append(
        markup.path([(x(w), y(p)) for w, p in zip(weights, percents, strict=True)], "curve")
    )
    for number, (what, weight, percent) in enumerate(points):
        label = f"{what}: weight {weight:.3f}, {percent:.2f} %"
        kind = ("mark", "mark other", "mark third")[number % 3]
        parts.append(markup.circle(x(weight), y(percent), kind, radius=5, title=label))
        parts += _key(kind, label, row=number, top=306)
    description = "; ".join(
        f"{what} {weight:.3f}: {percent:.2f} %" for what, weight, percent in points
    )
    height = 306 + 18 * len(points)
    return markup.drawing(
        parts, height=height, title=f"Accuracy at every weight of {stream}", description=description
    )


def reliability_chart(stream: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """How often answers come true against how sure they are; the diagonal is ideal."""
    x, y = markup.Axis(0, 100, 52, markup.WIDTH - 14), markup.Axis(0, 100, 300, 30)
    parts = markup.frame(x, y, x_title="confidence, %", y_title="right, %")
    parts.append(markup.line(x(0), y(0), x(100), y(100), "ideal"))
    lines = []
    for number, (name, facts) in enumerate((("as it is", before), ("calibrated", after))):
        if facts["ece"] is None:
            continue
        bins = [b for b in facts["bins"] if b["videos"]]
        places = [(x(100 * b["confidence"]), y(100 * b["accuracy"])) for b in bins]
        kind = ("mark other", "mark")[number]
        parts.append(markup.path(places, ("curve other", "curve")[number]))
        for bin_, (left, top) in zip(bins, places, strict=True):
            tip = f"{bin_['videos']} videos, {100 * bin_['accuracy']:.1f} % right"
            parts.append(markup.circle(left, top, kind, radius=3, title=tip))
        lines.append(f"{name}: calibration error {100 * facts['ece']:.1f} %")
        parts += _key(kind, lines[-1], row=len(lines) - 1, top=356)
    height = 356 + 18 * len(lines)
    return markup.drawing(
        parts, height=height, title=f"Reliability of {stream}", description="; ".join(lines)
    )


def gain_chart(rows: Sequence[tuple[str, int, str]], *, title: str, unit: str) -> str:
    """Bars to the right (gained) and left (lost): label, videos, and what the tooltip says."""
    low, high = min(0, *(value for _, value, _ in rows)), max(0, *(value for _, value, _ in rows))
    x = markup.Axis(low, high or 1, _LABELS + 30, markup.WIDTH - 34)
    bottom = _ROW * len(rows) + 8
    parts = [markup.line(x(0), 4, x(0), bottom, "axis")]
    for row, (label, value, detail) in enumerate(rows):
        y = _ROW * row + 8
        kind = "gain" if value >= 0 else "loss"
        left, right = sorted((x(0), x(value)))
        parts += [
            markup.text(_LABELS, y + 12, _short(label), anchor="end"),
            markup.rect(left, y, right - left, 16, kind, title=f"{label}: {detail}"),
            markup.text(right + 5 if value >= 0 else left - 5, y + 12, f"{value:+d}",
                  anchor="start" if value >= 0 else "end"),
        ]  # fmt: skip
    parts.append(
        markup.text((x.start + x.end) / 2, bottom + 18, unit, anchor="middle", kind="title")
    )
    description = "; ".join(f"{label} {value:+d}" for label, value, _ in rows)
    return markup.drawing(parts, height=bottom + 26, title=title, description=description)


def segment_chart(rows: Sequence[Mapping[str, Any]], *, stream: str) -> str:
    """Top-1 of each segment alone, and of all the others without it."""
    alone = [row["alone"]["percent"] for row in rows]
    without = [row["without"]["percent"] for row in rows if row["without"]]
    low, high = markup.span([*alone, *without])
    x, y = markup.Axis(0.5, len(rows) + 0.5, 52, markup.WIDTH - 14), markup.Axis(low, high, 230, 30)
    parts = markup.frame(x, y, x_title="segment, from the first to the last", y_title="top-1, %")
    for name, values, kind in (("alone", alone, ""), ("all others", without, " other")):
        places = [(x(number), y(value)) for number, value in enumerate(values, start=1)]
        if places:
            parts.append(markup.path(places, f"curve{kind}"))
            parts += [markup.circle(*place, f"mark{kind}") for place in places]
            parts += _key(f"mark{kind}", name, row=1 if kind else 0, top=288)
    lines = [
        f"segment {row['segment']}: alone {row['alone']['percent']:.2f} %"
        + (f", the others without it {row['without']['percent']:.2f} %" if row["without"] else "")
        for row in rows
    ]
    return markup.drawing(
        parts, height=316, title=f"Segments of {stream}", description="; ".join(lines)
    )


def training_chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str,
    unit: str,
    last: float | None = None,
    names: int | None = None,
) -> str:
    """Lines over epochs, by name.

    Args:
        last: epoch of the axis, and `names` the lines of the key there is room for: equal ones make
            charts of equal size.
    """
    points = [point for line_ in series.values() for point in line_]
    low, high = markup.span([value for _, value in points])
    last = max(epoch for epoch, _ in points) if last is None else last
    x, y = markup.Axis(0, max(last, 1), 52, markup.WIDTH - 14), markup.Axis(low, high, 230, 30)
    parts = markup.frame(x, y, x_title="epoch, from 0", y_title=unit)
    lines = []
    for number, (name, values) in enumerate(series.items()):
        kind = ("", " other", " third")[number % 3]
        parts.append(markup.path([(x(epoch), y(value)) for epoch, value in values], f"curve{kind}"))
        parts += [
            markup.circle(x(epoch), y(value), f"mark{kind}", radius=2) for epoch, value in values
        ]
        parts += _key(f"mark{kind}", name, row=number, top=288)
        lines.append(f"{name}: from {values[0][1]:.4g} to {values[-1][1]:.4g}")
    height = 288 + 18 * (names or len(series))
    return markup.drawing(parts, height=height, title=title, description="; ".join(lines))


def class_chart(
    rows: Sequence[tuple[str, int, Mapping[str, float]]], *, results: Sequence[str], title: str
) -> str:
    """Accuracy of classes, a row each: name, videos, and the percent of each result.

    The last of `results` stands out.
    """
    x = markup.Axis(0, 100, _LABELS, markup.WIDTH - 14)
    row_height = 18
    bottom = row_height * len(rows) + 8
    parts = _vertical_grid(x, bottom)
    kinds = dict(zip(results, (" other", " third", " fourth"), strict=False))
    kinds[results[-1]] = ""
    for number, (name, videos, percents) in enumerate(rows):
        y = row_height * number + 14
        places = [x(percents[result]) for result in results]
        parts.append(markup.text(_LABELS - 8, y + 4, _short(name), anchor="end"))
        parts.append(markup.line(min(places), y, max(places), y, "grid"))
        tip = f"{name}, {videos} videos: " + ", ".join(
            f"{result} {percents[result]:.0f} %" for result in results
        )
        for result, place in zip(results, places, strict=True):
            radius = 5 if result == results[-1] else 3.5
            parts.append(
                markup.circle(place, y, f"mark{kinds.get(result, '')}", radius=radius, title=tip)
            )
    middle = (x.start + x.end) / 2
    parts.append(
        markup.text(middle, bottom + 36, "right, % of the class", anchor="middle", kind="title")
    )
    for number, result in enumerate(results):
        parts += _key(f"mark{kinds.get(result, '')}", result, row=number, top=bottom + 58)
    description = "; ".join(f"{name} {percents[results[-1]]:.0f} %" for name, _, percents in rows)
    height = bottom + 58 + 18 * len(results)
    return markup.drawing(parts, height=height, title=title, description=description)


def _vertical_grid(x: markup.Axis, bottom: float) -> list[str]:
    parts = []
    for value in markup.ticks(x.low, x.high, about=8):
        parts.append(markup.line(x(value), 4, x(value), bottom, "grid"))
        parts.append(markup.text(x(value), bottom + 18, f"{value:g}", anchor="middle"))
    return parts


def _key(kind: str, label: str, *, row: int, top: float) -> list[str]:
    y = top + 18 * row
    return [markup.circle(60, y, kind, radius=4), markup.text(70, y + 4, label)]


def _result_text(system: Mapping[str, Any]) -> str:
    share = f"{system['correct']} of {system['of']}; " if "of" in system else ""
    return (
        f"{system['name']}: {system['percent']:.2f} % ({share}{interval_text(system['interval'])})"
    )


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
