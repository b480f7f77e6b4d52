"""What is wrong, or merely odd, in score files: each alone, and together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import fuse
from fusion.combining.video_scores import cast_votes
from fusion.evaluation.diagnosis import at_chance, doubled_rows
from fusion.evaluation.text_tables import accuracy_cells
from fusion.metrics import accuracy_summary
from fusion.tables.join import join
from fusion.tables.score_file import UNKNOWN, ScoreTable, read_scores
from twostream_base.errors import InputError, some_of


def check_files(paths: Sequence[Path]) -> dict[str, Any]:
    """Read files and look through them, as JSON values.

    A file is `sound`, or has an `error`; its `findings` are lines about what is odd in it. Of
    several sound files, `together` says whether they join.
    """
    files: list[dict[str, Any]] = []
    tables: dict[str, ScoreTable] = {}
    for path in paths:
        try:
            table = read_scores(path)
        except InputError as error:
            files.append({"file": str(path), "sound": False, "error": str(error), "findings": []})
        else:
            tables[str(path)] = table
            files.append({"file": str(path), "sound": True, "findings": findings(table)})
    return {"files": files, "together": _together(tables) if len(tables) > 1 else None}


def check_lines(result: Mapping[str, Any]) -> list[str]:
    """The same as lines of text."""
    lines = []
    for file in result["files"]:
        lines.append(f"{file['file']}: sound" if file["sound"] else f"broken: {file['error']}")
        lines += [f"  {finding}" for finding in file["findings"]]
    together = result["together"]
    if together:
        lines.append(f"together: {'they join' if together['join'] else together['error']}")
        lines += [f"  {warning}" for warning in together["warnings"]]
    return lines


def findings(table: ScoreTable) -> list[str]:
    """What is odd in a sound table, a line each."""
    scores = cast_votes({"this file": table}).scores["this file"]
    found = (
        doubled_rows(table.names, table.scores),
        _flat(table),
        _sums(table),
        _labels(table),
        at_chance(scores, table.labels),
    )
    return [line for line in found if line]


def _flat(table: ScoreTable) -> str | None:
    flat = (np.ptp(table.scores, axis=-1) == 0).any(axis=(1, 2))
    names = [table.names[row] for row in np.flatnonzero(flat)]
    return _counted(names, "have views that score all classes alike")


def _sums(table: ScoreTable) -> str | None:
    if table.kind != "probs":
        return None
    off = np.abs(table.scores.sum(axis=-1, dtype=np.float64) - 1).max(axis=(1, 2)) > 1e-2
    names = [table.names[row] for row in np.flatnonzero(off)]
    return _counted(names, "have probabilities that do not sum to 1")


def _counted(videos: Sequence[str], what: str) -> str | None:
    return f"{len(videos)} videos {what}: {some_of(videos)}" if videos else None


def _labels(table: ScoreTable) -> str | None:
    unknown = int((table.labels == UNKNOWN).sum())
    empty = len(table.class_names) - len(set(table.labels.tolist()) - {UNKNOWN})
    parts = []
    if unknown:
        parts.append(f"{unknown} of {len(table.names)} videos have no label")
    if empty and unknown < len(table.names):
        parts.append(f"{empty} of {len(table.class_names)} classes have no video")
    return "; ".join(parts) or None


def _together(tables: Mapping[str, ScoreTable]) -> dict[str, Any]:
    try:
        warnings = join(tables)[1]
    except InputError as error:
        return {"join": False, "error": str(error), "warnings": []}
    return {"join": True, "warnings": warnings}


# What a score file holds, for programs and for people.
TOP = 3


def contents(table: ScoreTable, *, first: int) -> dict[str, Any]:
    """Header, shape, accuracy, and the highest classes of the first videos, as JSON values.

    Accuracy and classes are those of the mean over segments and crops.
    """
    fused = fuse({"this file": table}).table
    scores = fused.scores[:, 0, 0]
    axes = ("videos", "segments", "crops", "classes")
    return {
        "kind": table.kind,
        "shape": dict(zip(axes, table.scores.shape, strict=True)),
        "dtype": str(table.scores.dtype),
        "about": table.about,
        "accuracy": accuracy_summary(scores, table.labels),
        "first": [_video(table, row, scores[row]) for row in range(min(first, len(scores)))],
    }


def content_lines(shown: Mapping[str, Any]) -> list[str]:
    """The same as lines of text."""
    shape = ", ".join(f"{axis} {count}" for axis, count in shown["shape"].items())
    top1, top5, mean_class = accuracy_cells(shown["accuracy"])
    return [
        f"{shown['kind']}, {shown['dtype']}; {shape}",
        *(f"{key}: {_text(value)}" for key, value in shown["about"].items()),
        "",
        f"top-1 {top1}   top-5 {top5}   mean class {mean_class}",
        "",
        *(
            f"{video['name']} (true: {video['label'] or 'not known'}): {_ranking(video['top'])}"
            for video in shown["first"]
        ),
    ]


def _video(table: ScoreTable, row: int, scores: np.ndarray) -> dict[str, Any]:
    label = int(table.labels[row])
    highest = np.argsort(-scores, kind="stable")[:TOP]
    return {
        "name": table.names[row],
        "label": None if label < 0 else table.class_names[label],
        "top": [
            {"class": table.class_names[index], "score": round(float(scores[index]), 4)}
            for index in highest
        ],
    }


def _ranking(top: list[dict[str, Any]]) -> str:
    return ", ".join(f"{item['class']} {item['score']:.4g}" for item in top)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
