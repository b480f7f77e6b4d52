"""The sections of the report: on results and weights, then on classes and videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fusion.combining.probabilities import softmax
from fusion.evaluation.comparison import class_accuracy, complementarity
from fusion.evaluation.forms import forms_rows, worth_line
from fusion.evaluation.metrics import MEASURES, shown_measures
from fusion.evaluation.results import interval_basis, interval_text, p_text, test_used, weights_text
from fusion.fitting.tune import curve_of_streams
from fusion.reporting.charts import (
    class_chart,
    cost_chart,
    gain_chart,
    interval_chart,
    reliability_chart,
    segment_chart,
    training_chart,
    weight_chart,
)
from fusion.reporting.content import Content, with_first
from fusion.reporting.markup import (
    bullet_list,
    charts,
    csv_link,
    details,
    drawing,
    figure,
    heading,
    image,
    paragraph,
    rect,
    section,
    table,
    text,
)

CURVE_POINTS = 201
MISTAKES, BARS, NAMES = 15, 12, 200  # most rows of these lists
IN_CHART = 60  # most classes of the chart of class accuracies, and of the matrix
PICTURED, TOP = 6, 3  # videos with pictures, and classes of each stream beside them
_FEW = 12  # up to this many classes stand in the order of the list, with numbers in the matrix
_FACTS = ("dataset", "split", "subset", "protocol", "model", "epoch", "selected_on")


def verdict(content: Content) -> list[str]:
    """The result in sentences: accuracy, gain over the best stream, fits, selection."""
    shown, best = content.shown, content.best_stream()
    accuracy, alone = content.accuracies[shown], content.accuracies[best]["top1"]
    top1, top5 = accuracy["top1"], accuracy["top5"]
    of_five = ""
    if "top5" in shown_measures(len(content.streams.class_names)):
        of_five = f"Top-5: {top5['percent']:.2f} % ({interval_text(top5['interval'])}). "
    lines = [
        f"{shown} gets {top1['percent']:.2f} % of {top1['of']:,} videos right (top-1; 95 % "
        f"interval {interval_text(top1['interval'])}, "
        f"{interval_basis(content.compared['groups'], content.compared['videos'])}).",
        f"{of_five}Mean of the class accuracies: {accuracy['mean_class']['percent']:.2f} % "
        f"({interval_text(content.mean_class)}).",
    ]
    if shown != best:
        pair = content.pair(shown, best)
        interval = interval_text(pair["interval"], sign="+")
        finding = (
            "a difference that holds"
            if pair["significant"]
            else "no difference that these videos can show"
        )
        lines.append(
            f"Against the best stream alone, {best} ({alone['percent']:.2f} %): "
            f"{pair['difference']:+.2f} points ({interval}), {finding}: p = {pair['p_holm']:.2g} "
            f"after correction for {len(content.compared['pairs'])} pairs, by an "
            f"{test_used(content.compared)}."
        )
    if content.picked:
        fusions = len(content.results) - len(content.streams.scores)
        lines.append(
            f"It is the best of {fusions} fusions on these very videos, which flatters it a little."
        )
    if shown in content.fitted_on:
        plain = shown.removesuffix(", calibrated")
        without = (
            f"; without, {plain} gets {content.accuracies[plain]['top1']['percent']:.2f} %"
            if plain != shown and plain in content.accuracies
            else ""
        )
        lines.append(f"Something in it was fitted on {content.fitted_on[shown]}{without}.")
    selected = {key: about.get("selected_on") for key, about in content.streams.metadata.items()}
    if any(selected.values()):
        listed = ", ".join(f"{key} on {of or 'what is not known'}" for key, of in selected.items())
        lines.append(f"The epochs were selected: {listed}.")
    else:
        lines.append("What the epochs were selected on is not known.")
    return lines


def inputs_section(content: Content) -> str:
    """The inputs: file, protocol and origin of each stream, and how it was trained."""
    rows = [
        (
            key,
            *(about.get(fact, "-") for fact in _FACTS),
            about["kind"],
            " ".join(content.files[key]) or "-",
        )
        for key, about in content.streams.metadata.items()
    ]
    heading = ("stream", "data set", "split", "subset", "protocol", "network", "epoch",
               "epoch selected on", "scores", "file")  # fmt: skip
    configs = {key: run.config for key, run in content.runs.items() if run.config}
    settings = ""
    if configs:
        names = list(dict.fromkeys(name for config in configs.values() for name in config))
        cells = [
            (name, *(str(config.get(name, "-")) for config in configs.values())) for name in names
        ]
        settings = details(
            f"How {' and '.join(configs)} were trained: all options, seeds among them",
            table(("option", *configs), cells, name="training-options"),
        )
    return section("inputs", "Inputs and protocols", table(heading, rows, name="inputs"), settings)


def results_section(content: Content) -> str:
    """Every stream and strategy with its interval, and the paired tests against the shown one."""
    systems = sorted(content.compared["systems"], key=lambda system: -system["correct"])
    shown = shown_measures(len(content.streams.class_names))
    heading = ["result", "right", "top-1, %", "95 % interval"]
    heading += [f"{MEASURES[measure]}, %" for measure in shown[1:]]
    rows = []
    for row in systems:
        accuracy = content.accuracies[row["name"]]
        cells = [row["name"], f"{row['correct']}/{row['of']}", f"{row['percent']:.2f}"]
        figures = [f"{accuracy[measure]['percent']:.2f}" for measure in shown[1:]]
        rows.append([*cells, interval_text(row["interval"]), *figures])
    fits: dict[str, list[str]] = {}
    for name, labels in content.fitted_on.items():
        fits.setdefault(labels, []).append(name)
    caption = " ".join(f"Fitted on {of}: {'; '.join(names)}." for of, names in fits.items())
    pairs = content.compared["pairs"]
    of_shown = [
        with_first(pair, content.shown)
        for pair in pairs
        if content.shown in (pair["first"], pair["second"])
    ]
    basis = interval_basis(content.compared["groups"], content.compared["videos"])
    return section(
        "results",
        "Streams and fusions",
        charts(
            figure(
                interval_chart(
                    systems, title="Top-1 of all results", reference=content.best_stream()
                ),
                f"Top-1 with the 95 % interval of each alone, {basis}; the dashed line is the best "
                "stream. Intervals may overlap although the difference is certain, as the videos "
                "are the same: see the tests below.",
                name="results",
            ),
            table(heading, rows, name="results", strong=content.shown, caption=caption),
        ),
        table(
            _PAIR_HEADING,
            map(_pair_row, of_shown),
            name="tests",
            caption=f"{content.shown} against each other result, in percent points. p by an "
            f"{test_used(content.compared)}, corrected for all {len(pairs)} pairs (Holm); "
            "interval: what this test does not reject; * where p is below 0.05 after correction "
            "and 0 not in the interval. Smallest detectable: the difference that such a test would "
            "find four times in five.",
        ),
        details(
            f"All {len(pairs)} pairs", table(_PAIR_HEADING, map(_pair_row, pairs), name="pairs")
        ),
    )


def forms_section(forms: Mapping[str, Any]) -> str:
    """The forms of using RGB and flow by accuracy and cost, and which is worth its cost here."""
    priced = [form for form in forms["forms"] if form["milliseconds"] is not None]
    heading, *rows = forms_rows(forms)
    verdict = worth_line(forms)
    chart = ""
    if priced:
        chart = figure(
            cost_chart(priced, worth=forms["worth"]),
            "Top-1 with its 95 % interval, over the milliseconds that flow and network take for a "
            "video on the machine that made this page, without decoding.",
            name="forms",
        )
    return section(
        "forms",
        "Forms and their cost",
        paragraph(f"{verdict[0].upper()}{verdict[1:]}."),
        charts(chart),
        table(heading, rows, name="forms", strong=forms["worth"] or ""),
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
        best, count = curve.best()
        points = [("best on these very videos", best, 100 * count / videos)]
        if tuned is not None:
            weight = tuned["weights"][first]
            here = 100 * float(curve.correct(np.array([weight]))[0]) / videos
            points = [
                ("mean of the weights of the folds", weight, here),
                points[0],
                ("its held-out estimate", weight, tuned["held_out"]["percent"]),
            ]
        chart = weight_chart(weights.tolist(), percents, points=points, stream=first)
        parts.append(
            figure(
                chart,
                "Exact, at every weight: a video is right on one stretch of weights.",
                name="weights",
            )
        )
    if tuned is None:
        parts.append(
            paragraph(
                "No weight was chosen on other videos: the scenes of the videos are not known, nor "
                "validation scores given. The best point of the curve has seen the test labels."
            )
        )
    else:
        mean, picked = (weights_text(row["weights"]) for row in (tuned, tuned["picked"]))
        rows = [
            (f"held out: each fold by the weights of the others, on average {mean}",
             tuned["held_out"]),
            ("equal weights", tuned["equal"]),
            (f"best on these very videos: {picked}", tuned["picked"]),
        ]  # fmt: skip
        cells = [
            (what, f"{n['percent']:.2f} % ({n['correct']}/{n['of']})", interval_text(n["interval"]))
            for what, n in rows
        ]
        caption = (
            f"Weights chosen on {tuned['fitted_on']}. Chosen on the very videos that are counted, "
            f"they would look {tuned['optimism']:.2f} points better."
        )
        parts.append(
            table(("weights", "top-1", "95 % interval"), cells, name="weights", caption=caption)
        )
    return section("weights", "Weights of the streams", charts(*parts))


def calibration_section(content: Content) -> str:
    """Reliability diagrams, before and after calibration."""
    calibrated = content.calibrated
    if calibrated is None:
        text = (
            "Not calibrated: the scenes of the videos are not known (--groups), nor validation "
            "scores asked for (--calibrate val)."
        )
        return section("calibration", "Calibration", paragraph(text))
    diagrams = []
    for key in calibrated.joined.tables:
        facts = calibrated.facts(key)
        listed = ", ".join(f"{temperature:.3g}" for temperature in facts["temperatures"])
        folds = " (one a fold)" if len(facts["temperatures"]) > 1 else ""
        chart = reliability_chart(key, calibrated.before[key], calibrated.after[key])
        caption = f"{key}: {facts['method']} scaling, temperature {listed}{folds}"
        diagrams.append(figure(chart, caption, name=f"calibration-{key}"))
    text = (
        f"Fitted on {calibrated.fitted_on or 'validation videos'}. On the dashed line, answers are "
        "right as often as their confidence says."
    )
    return section("calibration", "Calibration", paragraph(text), charts(*diagrams))


def segments_section(content: Content) -> str:
    """Accuracy of each segment."""
    if not content.segments:
        text = "Each of these score files has one segment per video: there is nothing to compare."
        return section("segments", "Which segment matters", paragraph(text))
    figures = [
        figure(
            segment_chart(rows, stream=key),
            f"{key}: a segment matters where the others are worse without it.",
            name=f"segments-{key}",
        )
        for key, rows in content.segments.items()
    ]
    rows = [
        (key, row["segment"], f"{row['alone']['percent']:.2f}",
         f"{row['without']['percent']:.2f}" if row["without"] else "-")
        for key, of_stream in content.segments.items()
        for row in of_stream
    ]  # fmt: skip
    numbers = table(
        ("stream", "segment", "alone, top-1 %", "all others, top-1 %"), rows, name="segments"
    )
    return section(
        "segments", "Which segment matters", charts(*figures), details("The numbers", numbers)
    )


def training_section(content: Content) -> str:
    """Loss and accuracy over the epochs, where run folders are known."""
    if not content.runs:
        text = "No run folder with a log.csv was given."
        return section("training", "Training", paragraph(text, "soft"))
    lines: list[tuple[str, str, str, dict[str, list[tuple[float, float]]]]] = []
    for key, run in content.runs.items():
        for title, unit, columns in (
            ("Loss", "loss", ["loss"]), ("Top-1", "top-1, %", ["top1", "videos"]),
        ):  # fmt: skip
            series: dict[str, list[tuple[float, float]]] = {}
            for row in run.log:
                if all(row.get(column) for column in columns):
                    number, *videos = (float(row[column]) for column in columns)
                    series.setdefault(row.get("subset") or "", []).append(
                        (float(row["epoch"]), 100 * number / videos[0] if videos else number)
                    )
            if series:
                lines.append((key, title, unit, series))
    last = max((epoch for *_, series in lines for of in series.values() for epoch, _ in of),
               default=1)  # fmt: skip
    names = max((len(series) for *_, series in lines), default=1)
    figures = [
        figure(
            training_chart(series, title=f"{title} of {key}", unit=unit, last=last, names=names),
            f"{key}: {title.lower()} by epoch",
            name=f"training-{key}-{title.lower()}",
        )
        for key, title, unit, series in lines
    ]
    heading = list(dict.fromkeys(name for run in content.runs.values() for row in run.log
                                 for name in row if name))  # fmt: skip
    rows = [
        (key, *(row.get(name) or "" for name in heading))
        for key, run in content.runs.items()
        for row in run.log
    ]
    link = csv_link("training", [["stream", *heading], *rows], "The logs as CSV")
    return section("training", "Training", charts(*figures), f"<p>{link}</p>")


_PAIR_HEADING = ("first", "second", "difference", "95 % interval", "only first right",
                 "only second", "p", "p, Holm", "smallest detectable")  # fmt: skip


def _pair_row(pair: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        pair["first"],
        pair["second"],
        f"{pair['difference']:+.2f}",
        interval_text(pair["interval"], sign="+"),
        str(pair["only_first"]),
        str(pair["only_second"]),
        f"{pair['p']:.2g}",
        p_text(pair),
        "-" if pair["smallest"] is None else f"{pair['smallest']:.2f}",
    )


def accuracy_section(content: Content) -> str:
    """The accuracy of each class by each stream and the shown result, the lowest first."""
    streams, shown = content.streams, content.shown
    names = [*(name for name in streams.scores if name != shown), shown]
    rows = class_accuracy(
        {name: content.results[name].first for name in names}, streams.labels, streams.class_names
    )
    percents = [
        (
            row["class"],
            int(row["videos"]),
            {name: 100 * count / row["videos"] for name, count in row["correct"].items()},
        )
        for row in rows
    ]
    percents.sort(key=lambda row: row[2][shown])
    charted, which = percents, f"All {len(rows)} classes"
    if len(percents) > IN_CHART:
        charted = percents[: IN_CHART // 2]
        which = f"The {len(charted)} lowest of {len(rows)} classes"
    caption, parts = f"{which}, sorted by {shown}", {"classes": (charted, "")}
    if len(charted) > 2 * _FEW:
        middle = -(-len(charted) // 2)
        parts = {
            "classes-1": (charted[:middle], ", lower half"),
            "classes-2": (charted[middle:], ", upper half"),
        }
    figures = [
        figure(
            class_chart(part, results=names, title="Accuracy by class"),
            f"{caption}{which_half}.",
            name=name,
        )
        for name, (part, which_half) in parts.items()
    ]
    every = table(
        ("class", "videos", *(f"{name}, %" for name in names)),
        [(row, videos, *(f"{of[name]:.1f}" for name in names)) for row, videos, of in percents],
        name="classes",
    )
    all_classes = details(f"All {len(rows)} classes", every)
    return section("accuracy", "Accuracy by class", charts(*figures), all_classes)


def confusion_section(content: Content) -> str:
    """The most common mistakes of the shown result, and the matrix."""
    names = content.streams.class_names
    counts = confusion(content.results[content.shown].first, content.streams.labels, len(names))
    order = matrix_order(counts, most=IN_CHART)
    matrix = matrix_chart(counts[np.ix_(order, order)], [names[row] for row in order])
    present = int((counts.sum(axis=0) + counts.sum(axis=1) > 0).sum())
    which = f"All {len(order)} classes"
    if len(order) < present:
        which = f"The {len(order)} of {present} classes that are most often mistaken"
    order_text = "" if len(order) <= _FEW else ", those side by side that are taken for each other"
    pairs = [
        (names[true], names[predicted], int(counts[true, predicted]))
        for true, predicted in np.argwhere(counts).tolist()
    ]
    link = csv_link("confusion", [("true class", "predicted", "videos"), *pairs],
                    "All pairs as CSV")  # fmt: skip
    matrix_figure = figure(
        matrix,
        f"{which}{order_text}: rows are true, columns predicted; the darker, the larger the share "
        "of the class. Rest the pointer on a square for its number.",
        name="confusion",
    )
    return section(
        "confusion",
        "Confusion",
        table(
            ("true class", "predicted", "videos"),
            top_mistakes(counts, names, most=MISTAKES),
            name="mistakes",
            caption=f"The most common mistakes of {content.shown}.",
        ),
        f'<div class="matrix scroll" tabindex="0">{matrix_figure}</div>',
        f"<p>{link}</p>",
    )


def classes_section(content: Content) -> str:
    """What the shown result gains and loses in each class against the best stream."""
    best, shown, streams = content.best_stream(), content.shown, content.streams
    pair = {name: content.results[name].first for name in (best, shown)}
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
    figures = [
        figure(gain_chart(bars, title=title, unit="videos"), title, name=name)
        for bars, title, name in (
            (up, f"Classes in which {shown} gains most over {best}.", "gains"),
            (down, "Classes in which it loses most.", "losses"),
        )
        if bars
    ]
    every = table(
        ("class", "videos", best, shown, "gain"),
        [
            (name, row["videos"], row["correct"][best], row["correct"][shown], f"{gain:+d}")
            for row, (name, gain, _) in zip(rows, gains, strict=True)
        ],
        name="gains",
    )
    same = paragraph("No class gains or loses a video.") if not figures else ""
    all_classes = details(f"All {len(rows)} classes", every)
    return section("gains", "Gains and losses by class", same, charts(*figures), all_classes)


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
        table(
            ("streams", "Yule's Q", "both wrong"),
            pairs,
            name="streams",
            caption="Yule's Q is 1 for streams that are right on the same videos, 0 for streams "
            "that are right independently of each other, -1 for opposite ones: the lower, the more "
            "a fusion can gain.",
        )
        if pairs
        else "",
        _pictures(content, won, f"Won: {shown} is right, {best} is not."),
        _names(content, won, f"{len(won)} videos won"),
        _pictures(content, lost, f"Lost: {best} is right, {shown} is not."),
        _names(content, lost, f"{len(lost)} videos lost"),
    )


def _pictures(content: Content, videos: np.ndarray, title: str) -> str:
    """A frame and its flow beside the first classes of each stream, for a few of the videos.

    Each is of another class, as far as there are so many; empty where there are no pictures.
    """
    if content.pictures is None:
        return ""
    streams, shown = content.streams, content.shown
    _, first_of_class = np.unique(streams.labels[videos], return_index=True)
    others = np.setdiff1d(np.arange(len(videos)), first_of_class)
    cards: list[str] = []
    for row in videos[[*np.sort(first_of_class), *others]].tolist():
        name = streams.names[row]
        if len(cards) == PICTURED:
            break
        if (pictures := content.pictures(name)) is None:
            continue
        images = "".join(
            image(data, f"{what} of {name}")
            for data, what in zip(pictures, ("frame", "flow"), strict=True)
            if data
        )
        lines = [f"true: {streams.class_names[streams.labels[row]]}"]
        for key, scores in streams.scores.items():
            of_video = scores[row]
            probs = of_video if streams.score_type == "probs" else softmax(of_video)
            top = np.argsort(-probs, kind="stable")[:TOP]
            listed = [f"{streams.class_names[c]} {100 * probs[c]:.0f} %" for c in top]
            lines.append(f"{key}: {', '.join(listed)}")
        predicted = int(content.results[shown].first[row])
        lines.append(f"{shown}: {streams.class_names[predicted]}")
        cards.append(
            f"<figure>{images}<figcaption>{paragraph(name)}{bullet_list(lines)}</figcaption>"
            "</figure>"
        )
    if not cards:
        return ""
    return f'{heading(title)}<div class="pictures">{"".join(cards)}</div>'


def _names(content: Content, videos: np.ndarray, summary: str) -> str:
    streams, predicted = content.streams, content.results[content.shown].first
    texts = []
    for row in videos[:NAMES].tolist():
        text = f"{streams.names[row]}: {streams.class_names[streams.labels[row]]}"
        if predicted[row] != streams.labels[row]:
            text += f", predicted {streams.class_names[predicted[row]]}"
        texts.append(text)
    if len(videos) > NAMES:
        texts.append(f"and {len(videos) - NAMES} more")
    return details(summary, bullet_list(texts, "names")) if texts else ""


def confusion(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 (true, predicted) of the labelled videos; both (V,)."""
    known = labels >= 0
    pairs = labels[known] * classes + predicted[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def top_mistakes(
    counts: np.ndarray, class_names: Sequence[str], *, most: int
) -> list[tuple[str, str, str]]:
    """The most common mistakes, most videos first: true class, predicted one, `k of N` videos."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    places = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = np.stack(np.unravel_index(places, wrong.shape), axis=1).tolist()
    return [
        (
            class_names[true],
            class_names[predicted],
            f"{wrong[true, predicted]} of {counts[true].sum()}",
        )
        for true, predicted in pairs
        if wrong[true, predicted]
    ]


def matrix_order(counts: np.ndarray, *, most: int) -> list[int]:
    """The classes of the matrix, in order: of many those in most mistakes, the alike side by side.

    Up to 12 classes stay as they are; classes that do not occur are left out.
    """
    occurs = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    wrong = counts - np.diag(np.diag(counts))
    if len(occurs) > most:
        mistakes = (wrong.sum(axis=0) + wrong.sum(axis=1))[occurs]
        occurs = np.sort(occurs[np.argsort(-mistakes, kind="stable")[:most]])
    if len(occurs) <= _FEW:
        return occurs.tolist()
    from scipy.cluster.hierarchy import leaves_list, linkage

    shares = wrong / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    alike = (shares + shares.T)[np.ix_(occurs, occurs)]
    distances = 1 / (0.01 + alike[np.triu_indices(len(occurs), 1)])
    leaves = leaves_list(linkage(distances, method="average", optimal_ordering=True))
    return occurs[leaves].tolist()


def matrix_chart(counts: np.ndarray, class_names: Sequence[str]) -> str:
    """A square for each pair of classes that occurs: blue on the diagonal, orange off it.

    The darker, the larger the share of the class's videos; numbers show under the pointer. It is
    drawn at its size in pixels: names can be read, however many there are.
    """
    few = len(class_names) <= _FEW
    cell, size = (34, 13) if few else (14, 11)
    names = [name if len(name) <= 22 else f"{name[:21]}…" for name in class_names]
    edge = 24 + 0.62 * size * max(map(len, names))  # letters are narrower than that
    edge = max(edge, 124)  # beside the names stands what they are
    side = cell * len(names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    parts = [
        text(edge, 14, "predicted class, to the right", kind="title"),
        text(4, edge - 6, "true class, below", kind="title"),
        rect(edge, edge, side, side, "sheet"),
    ]
    small = "" if few else "small"
    for number, name in enumerate(names):
        middle = edge + (number + 0.5) * cell + size / 3
        parts.append(text(edge - 5, middle, name, anchor="end", kind=small))
        upright = text(-edge + 5, middle, name, kind=small)
        parts.append(f'<g transform="rotate(-90)">{upright}</g>')
    for true, predicted in np.argwhere(counts).tolist():
        left, top = edge + predicted * cell, edge + true * cell
        count = int(counts[true, predicted])
        tooltip = f"{class_names[true]}, predicted {class_names[predicted]}: {count} videos"
        kind = "right" if true == predicted else "wrong"
        opacity = 0.15 + 0.85 * float(shares[true, predicted])
        parts.append(rect(left, top, cell, cell, kind, title=tooltip, opacity=opacity))
        if few:
            place = left + cell / 2, top + cell / 2 + 5
            parts.append(text(*place, str(count), anchor="middle", kind="count"))
    right, videos = int(np.trace(counts)), int(counts.sum())
    return drawing(
        parts,
        height=edge + side + 4,
        width=edge + max(side, 190) + 4,
        fixed=True,
        title="Confusion matrix",
        description=f"{right} of {videos} videos are on the diagonal, where both classes agree",
    )
