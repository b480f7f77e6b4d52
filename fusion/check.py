"""What is wrong, or merely odd, in score files: each alone, and together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion.diagnosis import at_chance, doubled_rows
from fusion.join import join
from fusion.score_file import UNKNOWN, ScoreTable, read_scores
from fusion.votes import cast_votes
from twostream.errors import InputError, some_of


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
