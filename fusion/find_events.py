"""What `events` does: the scores of windows of long videos to events, judged by a ground truth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import fuse_videos, score_videos
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
from fusion.tables.score_file import ScoreTable, read_scores
from fusion.tables.windows import rows_by_video
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
    systems = {key: as_probs(scores, streams.score_type) for key, scores in streams.scores.items()}
    if len(systems) > 1:
        systems[FUSED] = as_probs(fusion.scores, fusion.table.score_type)
    result = list(systems)[-1]
    by_system: dict[str, Events] = {}
    for number, (name, probs) in enumerate(systems.items()):
        if name == result or truth is not None:
            progress("events", number / len(systems))
            by_system[name] = _events_of_films(fusion.table, probs, detection)
    notes = list(fusion.warnings)
    if other is not None:
        if truth is None:
            raise InputError("--compare needs --truth: without it nothing tells which is better")
        name, events_by_other = _other_system(
            other, fusion.table, detection, options, names=list(by_system)
        )
        by_system[name] = events_by_other
    films = list(by_system[result])
    report: dict[str, Any] = {
        "films": len(films),
        "windows": len(streams.names),
        "classes": len(streams.class_names),
        "background": background_class(streams.class_names, detection.background),
        "result": result,
        "events": [
            {"video": film, "start": round(e.start, 3), "end": round(e.end, 3), "class": e.label,
             "score": round(e.score, 4)}
            for film, events in by_system[result].items()
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
    assert streams.times is not None
    ends = {
        film: float(streams.times[rows, 1].max())
        for film, rows in rows_by_video(fusion.table).items()
    }
    judged: dict[str, Judged] = {}
    for number, (name, events) in enumerate(by_system.items()):
        progress("judging", number / len(by_system))
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


def _events_of_films(
    table: ScoreTable, probabilities: np.ndarray, detection: DetectionOptions
) -> Events:
    rows_of_films = rows_by_video(table)
    assert table.times is not None
    return {
        film: detect_events(table.times[rows], probabilities[rows], table.class_names, detection)
        for film, rows in rows_of_films.items()
    }


def _other_system(
    source: Path | ScoreSource,
    judged: ScoreTable,
    detection: DetectionOptions,
    options: FusionOptions,
    *,
    names: Sequence[str],
) -> tuple[str, Events]:
    """The name and the events of another score file, which has the same films and classes."""
    sources = typed_sources([source])
    if len(sources) != 1:
        raise InputError(
            f"--compare {source}: these are {len(sources)} score files: "
            f"{some_of([str(each.path) for each in sources])}; name one"
        )
    (path,) = score_files(sources[0].path, replace(options, epochs=None))
    table = read_scores(path, in_memory=False)
    if unlike := sorted(set(table.class_names) ^ set(judged.class_names)):
        raise InputError(
            f"{path} has other classes than the files; they differ in {some_of(unlike)}"
        )
    if unlike := sorted(set(rows_by_video(judged)) ^ set(rows_by_video(table))):
        raise InputError(f"{path} has other films than the files; they differ in {some_of(unlike)}")
    typed = sources[0].stream if not sources[0].model else sources[0].path.name
    candidates = (typed or path.stem, str(path), f"--compare {path}")
    name = next(name for name in candidates if name not in names)
    scores = score_videos(join({"other": table}))
    probabilities = as_probs(scores.scores["other"], scores.score_type)
    return name, _events_of_films(table, probabilities, detection)


def write_events(path: Path, events: Sequence[Mapping[str, Any]]) -> None:
    """Write events as CSV, or as JSON for ActivityNet's evaluation, by the suffix of the file.

    Raises:
        InputError: another suffix.
    """
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
        systems = report["systems"].values()
        rows = [["", *report["systems"]]]
        rows += [
            [metric, *(_value_text(system[metric]) for system in systems)]
            for metric in SHOWN
            if metric in report["systems"][report["result"]]
        ]
        count = report["judged_films"]
        lines += [
            "",
            f"judged on {count:,} films; percent [95 % interval by films]",
            *columns(rows),
        ]
    for comparison in report["comparisons"]:
        lines += ["", f"{comparison['first']} minus {comparison['second']}, points"]
        rows = []
        for row in comparison["metrics"]:
            difference = {"percent": row["difference"], "interval": row["interval"]}
            p = f"p = {row['p']:.2g}, after Holm {row['p_holm']:.2g}"
            rows.append([row["metric"], _value_text(difference, sign="+"), p])
        lines += columns(rows)
    if report["by_class"]:
        rows = [["class", "events", "found", "AP at 0.5"]]
        rows += [
            [c["class"], str(c["events"]), str(c["detections"]), f"{c['ap50']:.2f}"]
            for c in report["by_class"]
        ]
        lines += ["", *columns(rows)]
    return [*lines, *(f"note: {note}" for note in report["notes"])]


def _value_text(value: Mapping[str, Any], sign: str = "") -> str:
    text = f"{value['percent']:{sign}.2f}"
    if value["interval"] is None:
        return text
    low, high = value["interval"]
    return f"{text} [{low:{sign}.2f}, {high:{sign}.2f}]"
