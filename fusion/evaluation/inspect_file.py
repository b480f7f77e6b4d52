"""What a score file holds, and what is wrong or suspicious in it: `scores show`, `scores check`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import mean_scores
from fusion.evaluation.diagnosis import at_chance, doubled_rows
from fusion.evaluation.metrics import accuracy_summary
from fusion.evaluation.results import accuracy_cells, interval_basis
from fusion.tables.join import join
from fusion.tables.score_file import UNKNOWN, ScoreTable, read_scores, seen_text
from twostream_base.errors import InputError, some_of

TOP = 3


def contents(table: ScoreTable, *, first: int) -> dict[str, Any]:
    """Header, shape, accuracy, and the highest classes of the first videos, as JSON values.

    Accuracy and classes are those of the mean over segments and crops.
    """
    scores = mean_scores(table)
    axes = ("videos", "segments", "crops", "classes")
    videos = []
    for row in range(min(first, len(scores))):
        label = int(table.labels[row])
        highest = np.argsort(-scores[row], kind="stable")[:TOP]
        videos.append(
            {
                "name": table.names[row],
                "label": None if label < 0 else table.class_names[label],
                "top": [
                    {"class": table.class_names[c], "score": round(float(scores[row, c]), 4)}
                    for c in highest
                ],
            }
        )
    return {
        "kind": table.score_type,
        "shape": dict(zip(axes, table.scores.shape, strict=True)),
        "dtype": str(table.scores.dtype),
        "groups": None if table.groups is None else len(set(table.groups)),
        "about": table.metadata,
        "accuracy": accuracy_summary(scores, table.labels, table.groups),
        "first": videos,
    }


def content_lines(shown: Mapping[str, Any]) -> list[str]:
    """`contents` as lines of text."""
    shape = ", ".join(f"{axis} {count}" for axis, count in shown["shape"].items())
    cells = accuracy_cells(shown["accuracy"], shown["shape"]["classes"])
    facts = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in shown["about"].items()
    }
    lines = [
        f"{shown['kind']}, {shown['dtype']}; {shape}",
        f"groups of videos: {shown['groups'] or 'not known'}; intervals "
        f"{interval_basis(shown['accuracy']['groups'], shown['accuracy']['top1']['of'])}",
        *(f"{key}: {text}" for key, text in facts.items()),
        "",
        "   ".join(f"{name} {text}" for name, text in cells.items()),
        "",
    ]
    for video in shown["first"]:
        ranking = ", ".join(f"{item['class']} {item['score']:.4g}" for item in video["top"])
        lines.append(f"{video['name']} (true: {video['label'] or 'not known'}): {ranking}")
    return lines


def check_files(paths: Sequence[Path]) -> dict[str, Any]:
    """Read files and check what is in them, as JSON values.

    A file is `sound`, or has an `error`; its `findings` are lines about what is suspicious in it.
    Of several sound files, `together` says whether they join.
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
    together: dict[str, Any] | None = None
    if len(tables) > 1:
        try:
            together = {"join": True, "warnings": join(tables).warnings}
        except InputError as error:
            together = {"join": False, "error": str(error), "warnings": []}
    return {"files": files, "together": together}


def check_lines(result: Mapping[str, Any]) -> list[str]:
    """`check_files` as lines of text."""
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
    """What is suspicious in a sound table, a line each."""
    lines = [seen_text(table.metadata), doubled_rows(table.names, table.scores)]
    flat = (np.ptp(table.scores, axis=-1) == 0).any(axis=(1, 2))
    lines.append(_videos(table, flat, "have views that score all classes alike"))
    if table.score_type == "probs":
        sums = table.scores.sum(axis=-1, dtype=np.float64)
        off = np.abs(sums - 1).max(axis=(1, 2)) > 1e-2
        lines.append(_videos(table, off, "have probabilities that do not sum to 1"))
    unknown = int((table.labels == UNKNOWN).sum())
    empty = len(table.class_names) - len(set(table.labels.tolist()) - {UNKNOWN})
    gaps = []
    if unknown:
        gaps.append(f"{unknown} of {len(table.names)} videos have no label")
    if empty and unknown < len(table.names):
        gaps.append(f"{empty} of {len(table.class_names)} classes have no video")
    lines += ["; ".join(gaps), at_chance(mean_scores(table), table.labels)]
    return [line for line in lines if line]


def _videos(table: ScoreTable, rows: np.ndarray, what: str) -> str | None:
    names = [table.names[row] for row in np.flatnonzero(rows)]
    return f"{len(names)} videos {what}: {some_of(names)}" if names else None
