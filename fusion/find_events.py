"""What `events` does: the scores of windows of long videos to events, judged by a ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import VideoScores, fuse_videos, score_videos
from fusion.combining.inputs import (
    FusionOptions,
    ScoreSource,
    read_inputs,
    score_files,
    typed_sources,
)
from fusion.combining.probabilities import as_probs
from fusion.evaluation.results import columns
from fusion.events.detection import DetectionOptions, background_class, detect_events
from fusion.events.event import Event
from fusion.events.metrics import (
    SHOWN,
    Judged,
    class_result,
    compare_systems,
    event_metrics,
    judge_events,
)
from fusion.events.truth import Truth, pair_films
from fusion.fitting.fitted_fusion import calibrate_inputs
from fusion.tables.join import join
from fusion.tables.progress import Progress, no_progress
from fusion.tables.score_file import open_scores
from twostream_base.errors import InputError, some_of
from twostream_base.files import write_text
from twostream_base.text import write_csv

FUSED = "fused"
MOST_LINES = 40  # of events on the screen
Events = dict[str, list[Event]]  # film -> its events


def find_events_in_files(
    options: FusionOptions,
    detection: DetectionOptions,
    *,
    truth: Truth | None = None,
    allow_missing: bool = False,
    other: Path | ScoreSource | None = None,
    classes: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Find the events of dense score files, fused as `fuse` does, and judge them, as JSON values.

    Args:
        truth: what happens in the films; without it nothing is judged.
        allow_missing: films of the truth may have no scores.
        other: a dense score file, or run folder with one, that the result is compared with; the
            means of its scores are taken as they are, without the strategies and calibration of
            `options`. Found as inputs are, see `typed_sources`.
        classes: also give the average precision of each class.
        seed: of the randomisation test, and of which films are left out together.

    Returns:
        `films`, `classes`, `background`, `events` (video, start, end, class, score), `systems` (the
        metrics of each input and of their fusion, None without a truth), `comparisons` of the
        result with each of the others, `by_class`, `notes`.

    Raises:
        InputError: score files without times, several splits, another system that is not one
            score file, or what reading, fusing and judging refuse.
    """
    if options.takes_splits:
        raise InputError(
            "events are found in the scores of one split at a time: name each file with its number "
            "in place of {split}"
        )
    inputs = read_inputs(options)
    if options.calibrate != "none":
        streams = calibrate_inputs(inputs, progress=progress).score_videos(inputs.steps)
    else:
        streams = score_videos(inputs.joined, inputs.steps)
    fusion = fuse_videos(streams, inputs.steps)
    streams = fusion.streams
    systems = dict(streams.scores)
    score_types = dict.fromkeys(systems, streams.score_type)
    if len(systems) > 1:
        systems[FUSED], score_types[FUSED] = fusion.scores, fusion.table.score_type
    result = list(systems)[-1]
    found: dict[str, Events] = {}
    judging = truth is not None
    for number, (name, scores) in enumerate(systems.items()):
        if name == result or judging:
            progress("events", number / len(systems))
            probs = as_probs(scores, score_types[name])
            found[name] = _events_of_films(streams, probs, detection)
    notes = list(fusion.warnings)
    if other is not None:
        if truth is None:
            raise InputError("--compare needs --truth: without it nothing tells which is better")
        name, found_by_other = _other_system(
            other, streams, detection, options=options, taken=list(found)
        )
        found[name] = found_by_other
    films = list(found[result])
    report: dict[str, Any] = {
        "films": len(films),
        "windows": len(streams.names),
        "classes": len(streams.class_names),
        "background": background_class(streams.class_names, detection.background),
        "result": result,
        "events": [
            {"video": film, "start": round(e.start, 3), "end": round(e.end, 3), "class": e.label,
             "score": round(e.score, 4)}
            for film, events in found[result].items()
            for e in events
        ],
        "systems": None,
        "comparisons": [],
        "by_class": None,
        "notes": notes,
    }  # fmt: skip
    if truth is None:
        return report
    truth = pair_films(truth, films, allow_missing=allow_missing)
    notes += truth.notes
    unknown = sorted(set(truth.class_names) - set(streams.class_names))
    if len(unknown) == len(truth.class_names):
        raise InputError(
            f"none of the truth's classes is one of the scores': {some_of(unknown, limit=3)}; "
            f"the scores have {some_of(streams.class_names, limit=3)}"
        )
    if unknown:
        notes.append(f"{len(unknown)} classes of the truth have no scores: {some_of(unknown)}")
    ends = _ends_of_films(streams)
    judged: dict[str, Judged] = {}
    for number, (name, events) in enumerate(found.items()):
        progress("judging", number / len(found))
        judged[name] = judge_events(events, truth, ends=ends)
    if judged[result].frames is None:
        notes.append(
            "the truth has several classes at a time: no frame accuracy, edit score and F1, which "
            "are of one class at a time"
        )
    report["judged_films"] = len(truth.films)
    report["systems"] = {
        name: event_metrics(of_system, rng=seed) for name, of_system in judged.items()
    }
    for name, of_system in judged.items():
        if name != result:
            progress("comparison", 0.5)
            rows = compare_systems(judged[result], of_system, rng=np.random.default_rng(seed))
            report["comparisons"].append({"first": result, "second": name, "metrics": rows})
    if classes:
        report["by_class"] = class_result(judged[result])
    return report


def _rows_of_films(streams: VideoScores) -> dict[str, np.ndarray]:
    """The rows of each film."""
    if streams.times is None or streams.groups is None:
        raise InputError(
            "these are scores of whole videos, without times; `twostream predict --window` gives "
            "scores of windows, and so does `score` for clips of --dataset timed"
        )
    rows: dict[str, list[int]] = {}
    for row, film in enumerate(streams.groups):
        rows.setdefault(film, []).append(row)
    return {film: np.array(of_film) for film, of_film in rows.items()}


def _events_of_films(
    streams: VideoScores, probabilities: np.ndarray, detection: DetectionOptions
) -> Events:
    rows_of_films = _rows_of_films(streams)
    assert streams.times is not None
    return {
        film: detect_events(
            streams.times[rows], probabilities[rows], streams.class_names, detection
        )
        for film, rows in rows_of_films.items()
    }


def _ends_of_films(streams: VideoScores) -> dict[str, float]:
    assert streams.times is not None
    return {
        film: float(streams.times[rows, 1].max()) for film, rows in _rows_of_films(streams).items()
    }


def _other_system(
    source: Path | ScoreSource,
    streams: VideoScores,
    detection: DetectionOptions,
    *,
    options: FusionOptions,
    taken: Sequence[str],
) -> tuple[str, Events]:
    """The name and the events of another score file, which has the same films and classes."""
    sources = typed_sources([source])
    if len(sources) != 1:
        raise InputError(
            f"--compare {source}: these are {len(sources)} score files: "
            f"{some_of([str(each.path) for each in sources])}; name one"
        )
    (path,) = score_files(sources[0].path, replace(options, epochs=None))
    table = open_scores(path)
    other = score_videos(join({"other": table}))
    if sorted(other.class_names) != sorted(streams.class_names):
        unlike = sorted(set(other.class_names) ^ set(streams.class_names))
        raise InputError(
            f"{path} has other classes than the files; they differ in {some_of(unlike)}"
        )
    films, its = set(_rows_of_films(streams)), set(_rows_of_films(other))
    if films != its:
        raise InputError(
            f"{path} has other films than the files; they differ in {some_of(sorted(films ^ its))}"
        )
    typed = sources[0].stream if not sources[0].model else sources[0].path.name
    names = (typed or path.stem, str(path), f"--compare {path}")
    name = next(name for name in names if name not in taken)
    probabilities = as_probs(other.scores["other"], other.score_type)
    return name, _events_of_films(other, probabilities, detection)


def write_events(path: Path, events: Sequence[Mapping[str, Any]]) -> None:
    """Write events as CSV, or as JSON for ActivityNet's evaluation, by the suffix of the file.

    Raises:
        InputError: another suffix.
    """
    import json

    check_suffix(path)
    if path.suffix.lower() == ".csv":
        heading = ("video", "start", "end", "label", "score")
        rows = [(e["video"], e["start"], e["end"], e["class"], e["score"]) for e in events]
        write_csv(path, [heading, *rows])
        return
    results: dict[str, list[dict[str, Any]]] = {}
    for e in events:
        results.setdefault(e["video"], []).append(
            {"label": e["class"], "score": e["score"], "segment": [e["start"], e["end"]]}
        )
    content = {"version": "VERSION 1.3", "results": results, "external_data": {}}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def check_suffix(path: Path) -> None:
    """Refuse a file for events that is neither .csv nor .json."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise InputError(f"{path}: events are written as .csv or .json")


def event_lines(report: Mapping[str, Any]) -> list[str]:
    """The events, the metrics and the comparisons as lines of text."""
    events = report["events"]
    background = report["background"] or "none"
    lines = [
        f"{report['films']:,} films, {report['windows']:,} windows, {report['classes']} classes "
        f"(background: {background}); {len(events):,} events by {report['result']}"
    ]
    shown = [
        (e["video"], f"{e['start']:.2f}", f"{e['end']:.2f}", e["class"], f"{e['score']:.2f}")
        for e in events[:MOST_LINES]
    ]
    if shown:
        lines += ["", *columns([("video", "start", "end", "class", "score"), *shown])]
    if len(events) > MOST_LINES:
        lines.append(f"and {len(events) - MOST_LINES:,} more; --out FILE.csv has all")
    if report["systems"]:
        names = list(report["systems"])
        rows: list[tuple[str, ...]] = [("", *names)]
        for metric in SHOWN:
            if metric in report["systems"][names[0]]:
                cells = [_share(report["systems"][name][metric]) for name in names]
                rows.append((metric, *cells))
        count = report["judged_films"]
        lines += [
            "",
            f"judged on {count:,} films; percent [95 % interval by films]",
            *columns(rows),
        ]
    for comparison in report["comparisons"]:
        lines += ["", f"{comparison['first']} minus {comparison['second']}, points"]
        lines += columns(
            [
                (
                    row["metric"],
                    _share({"percent": row["difference"], "interval": row["interval"]}, sign="+"),
                    f"p = {row['p']:.2g}, after Holm {row['p_holm']:.2g}",
                )
                for row in comparison["metrics"]
            ]
        )
    if report["by_class"]:
        rows = [("class", "events", "found", "AP at 0.5")]
        rows += [
            (c["class"], str(c["events"]), str(c["detections"]), f"{c['ap50']:.2f}")
            for c in report["by_class"]
        ]
        lines += ["", *columns(rows)]
    return [*lines, *(f"note: {note}" for note in report["notes"])]


def _share(value: Mapping[str, Any], sign: str = "") -> str:
    text = f"{value['percent']:{sign}.2f}"
    if value["interval"] is None:
        return text
    low, high = value["interval"]
    return f"{text} [{low:{sign}.2f}, {high:{sign}.2f}]"
