"""The sections of the report: on results and weights, then on classes and videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fusion.evaluation.comparison import class_accuracy, complementarity
from fusion.evaluation.diagnosis import diagnose
from fusion.evaluation.results import test_used, weights_text
from fusion.fitting.tune import curve_of_streams
from fusion.fitting.weight_search import WeightCurve
from fusion.reporting.charts import (
    gain_chart,
    interval_chart,
    reliability_chart,
    segment_chart,
    training_chart,
    weight_chart,
)
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

CURVE_POINTS = 201
MISTAKES, BARS, NAMES = 15, 12, 200  # most rows of these lists
_SIZE, _EDGE = 440, 20
_FEW = 20  # up to this many classes, cells have room for numbers
_FACTS = ("dataset", "split", "subset", "protocol", "model", "epoch", "selected_on")


def inputs_section(content: Content) -> str:
    """The inputs: file, protocol and origin of each stream."""
    rows = [
        (key, *(about.get(fact, "-") for fact in _FACTS), about["kind"], content.files[key])
        for key, about in content.streams.metadata.items()
    ]
    heading = ("stream", "data set", "split", "subset", "protocol", "model", "epoch",
               "selected on", "scores", "file")  # fmt: skip
    fused = content.results[content.shown]
    warnings = [
        *content.streams.warnings,
        *diagnose(content.streams, fused, strategy=content.shown),
    ]
    return section(
        "inputs",
        "Inputs and protocols",
        table(heading, rows),
        f'<div class="warning">{bullet_list(warnings)}</div>' if warnings else "",
    )


def results_section(content: Content) -> str:
    """Every stream and strategy with its interval, and the paired tests against the shown one."""
    systems = sorted(content.compared["systems"], key=lambda system: -system["correct"])
    rows = [
        (row["name"], f"{row['correct']}/{row['of']}", f"{row['percent']:.2f}", _interval(row))
        for row in systems
    ]
    pairs = content.compared["pairs"]
    of_shown = [
        _with_first(pair, content.shown)
        for pair in pairs
        if content.shown in (pair["first"], pair["second"])
    ]
    drawn = content.compared["bootstrap"]
    return section(
        "results",
        "Streams and strategies",
        '<div class="charts">',
        figure(
            interval_chart(systems, title="Top-1 of all results"),
            "95 % intervals of each alone (Wilson). Overlap means little, as the videos are "
            "the same; the paired tests below use that.",
        ),
        table(("result", "right", "%", "95 % interval"), rows),
        "</div>",
        table(
            _PAIR_HEADING,
            map(_pair_row, of_shown),
            caption=f"{content.shown} against each other result, in percent points: "
            f"{test_used(content.compared)}; Holm's correction for all {len(pairs)} pairs; "
            f"bootstrap of {drawn}; * where p after Holm is below 0.05 and 0 not in the interval",
        ),
        bullet_list(f"{name}: fitted on {of}" for name, of in content.fitted_on.items())
        if content.fitted_on
        else "",
        details(f"All {len(pairs)} pairs", table(_PAIR_HEADING, map(_pair_row, pairs))),
    )


def weights_section(content: Content) -> str:
    """Accuracy at every weight, with the weights that were chosen, and what they are worth."""
    tuned, streams, parts = content.tuned, content.streams, []
    if len(streams.scores) == 2:
        curve = curve_of_streams(streams)
        weights = np.linspace(0, 1, CURVE_POINTS)
        videos = int((streams.labels >= 0).sum())
        percents = (100 * curve.correct(weights) / videos).tolist()
        first = next(iter(streams.scores))
        chart = weight_chart(
            weights.tolist(),
            percents,
            points=_weight_points(tuned, first, curve, videos),
            stream=first,
        )
        parts.append(figure(chart, "Exact: each video is right on one stretch of weights."))
    if tuned is None:
        parts.append(
            paragraph(
                "No weight was chosen on other videos: the scenes of the videos are not known, nor "
                "validation scores given. The best point of the curve has seen the test labels."
            )
        )
    else:
        parts.append(_tuned_table(tuned))
    return section("weights", "Weights of the streams", '<div class="charts">', *parts, "</div>")


def calibration_section(content: Content) -> str:
    """Reliability diagrams, before and after calibration."""
    if content.calibrated is None:
        return section(
            "calibration",
            "Calibration",
            paragraph("Not calibrated: the scenes of the videos are not known (--groups), nor "
                      "validation scores asked for (--calibrate val)."),
        )  # fmt: skip
    calibrated = content.calibrated
    charts = [
        figure(
            reliability_chart(key, calibrated.before[key], calibrated.after[key]),
            f"{key}: {_temperatures(calibrated.facts(key))}",
        )
        for key in calibrated.joined.tables
    ]
    fitted_on = calibrated.fitted_on or "validation videos"
    return section(
        "calibration",
        "Calibration",
        paragraph(
            f"Fitted on {fitted_on}. On the dashed line, answers are right as often as their "
            "confidence says."
        ),
        '<div class="charts">',
        *charts,
        "</div>",
    )


def segments_section(content: Content) -> str:
    """Accuracy of each segment."""
    if not content.segments:
        text = "Each of these score files has one segment per video: there is nothing to compare."
        return section("segments", "Which segment matters", paragraph(text))
    charts = [
        figure(
            segment_chart(rows, stream=key),
            f"{key}: a segment matters where the others alone are worse.",
        )
        for key, rows in content.segments.items()
    ]
    return section("segments", "Which segment matters", '<div class="charts">', *charts, "</div>")


def training_section(content: Content) -> str:
    """Loss and accuracy over the epochs, where run folders are known."""
    charts = []
    for key, rows in content.logs.items():
        for title, unit, figure_of in (("Loss", "loss", _loss), ("Top-1", "top-1, %", _percent)):
            series: dict[str, list[tuple[float, float]]] = {}
            for row in rows:
                if (number := figure_of(row)) is not None:
                    series.setdefault(row.get("subset") or "", []).append(
                        (float(row["epoch"]), number)
                    )
            if series:
                chart = training_chart(series, title=f"{title} of {key}", unit=unit)
                charts.append(figure(chart, f"{key}: {title.lower()} by epoch"))
    if not charts:
        text = "No run folder with a log.csv was given."
        return section("training", "Training", paragraph(text, "soft"))
    return section("training", "Training", '<div class="charts">', *charts, "</div>")


_PAIR_HEADING = ("first", "second", "difference", "95 % interval", "only first right",
                 "only second", "p", "p, Holm", "smallest detectable")  # fmt: skip


def _pair_row(pair: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = pair["interval"]
    smallest = "-" if pair["smallest"] is None else f"{pair['smallest']:.2f}"
    return (
        pair["first"], pair["second"], f"{pair['difference']:+.2f}", f"{low:+.2f} to {high:+.2f}",
        str(pair["only_first"]), str(pair["only_second"]), f"{pair['p']:.2g}",
        f"{pair['p_holm']:.2g}{' *' if pair['significant'] else ''}", smallest,
    )  # fmt: skip


def _with_first(pair: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The pair with `name` as its first."""
    if pair["first"] == name:
        return pair
    low, high = pair["interval"]
    return {
        **pair, "first": pair["second"], "second": pair["first"],
        "only_first": pair["only_second"], "only_second": pair["only_first"],
        # 0 minus it, not minus it: that would show a difference of -0.00.
        "difference": 0 - pair["difference"], "interval": [0 - high, 0 - low],
    }  # fmt: skip


def _interval(count: Mapping[str, Any]) -> str:
    low, high = count["interval"]
    return f"{low:.2f} to {high:.2f}"


def _weight_points(
    tuned: Mapping[str, Any] | None, first: str, curve: WeightCurve, videos: int
) -> list[tuple[str, float, float]]:
    best, count = curve.best()
    points = [("best on these very videos", best, 100 * count / videos)]
    if tuned is not None:
        weight = tuned["weights"][first]
        here = 100 * float(curve.correct(np.array([weight]))[0]) / videos
        chosen = (f"chosen on {tuned['chosen_on']}", weight, here)
        points = [
            chosen,
            points[0],
            ("its held-out estimate", weight, tuned["held_out"]["percent"]),
        ]
    return points


def _tuned_table(tuned: Mapping[str, Any]) -> str:
    chosen, picked = (weights_text(row["weights"]) for row in (tuned, tuned["picked"]))
    rows = [
        (f"chosen on {tuned['chosen_on']}: {chosen}; held-out estimate", tuned["held_out"]),
        ("equal weights", tuned["equal"]),
        (f"best on these very videos: {picked}", tuned["picked"]),
    ]
    caption = (
        f"Chosen on {tuned['fitted_on']}. Choosing on the test videos themselves is too optimistic "
        f"by {tuned['optimism']:.2f} points"
    )
    cells = [
        (what, f"{n['percent']:.2f} % ({n['correct']}/{n['of']})", _interval(n)) for what, n in rows
    ]
    return table(("weights", "top-1", "95 % interval"), cells, caption=caption)


def _temperatures(facts: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{temperature:.3g}" for temperature in facts["temperatures"])
    folds = " (one a fold)" if len(facts["temperatures"]) > 1 else ""
    return f"{facts['method']} scaling, temperature {listed}{folds}"


def _loss(row: Mapping[str, str]) -> float | None:
    return float(row["loss"]) if row.get("loss") else None


def _percent(row: Mapping[str, str]) -> float | None:
    known = row.get("top1") and row.get("videos")
    return 100 * float(row["top1"]) / float(row["videos"]) if known else None


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
    best, shown, streams = content.best_stream(), content.shown, content.streams
    pair = {name: content.results[name] for name in (best, shown)}
    rows = class_accuracy(pair, streams.labels, streams.class_names)
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
    facts = complementarity(content.streams)
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
    streams, predicted = content.streams, content.results[content.shown]
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


def confusion(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 (true, predicted) of the labelled videos; both (V,)."""
    known = labels >= 0
    pairs = labels[known] * classes + predicted[known]
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
