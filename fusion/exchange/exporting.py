"""Export of score tables for other tools; no pickle is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import mean_scores
from fusion.combining.probabilities import softmax
from fusion.tables.score_file import UNKNOWN, ScoreTable
from twostream_base.errors import InputError
from twostream_base.files import atomic_path, write_text
from twostream_base.text import in_one_line, write_csv


def export_csv(path: Path, table: ScoreTable) -> None:
    """Write name, label and a column a class: the mean over segments and crops.

    `scores import --format csv` reads it.
    """
    labels = _labels(table)
    rows = zip(table.names, labels, mean_scores(table).tolist(), strict=True)
    heading = ("name", "label", *table.class_names)
    write_csv(path, [heading, *((name, label, *scores) for name, label, scores in rows)])


def export_top(path: Path, table: ScoreTable, *, top: int = 5) -> None:
    """Write name, label, and the `top` most probable classes with their probabilities in 0..1.

    Logits go through the softmax after their mean over segments and crops.
    """
    scores = mean_scores(table)
    probs = scores if table.score_type == "probs" else softmax(scores)
    highest = np.argsort(-probs, axis=1, kind="stable")[:, :top]
    ranks = range(1, highest.shape[1] + 1)
    heading = [f"{what}{rank}" for rank in ranks for what in ("class", "prob")]
    rows: list[Sequence[object]] = [("name", "label", *heading)]
    for row, (name, label) in enumerate(zip(table.names, _labels(table), strict=True)):
        cells = [(table.class_names[c], f"{probs[row, c]:.6f}") for c in highest[row]]
        rows.append((name, label, *(text for cell in cells for text in cell)))
    write_csv(path, rows)


def export_npz(path: Path, table: ScoreTable) -> None:
    """Write `scores` (V, S, R, C), `labels`, `names`, `class_names`, `groups`: plain arrays.

    Of windows also `times` (V, 2), seconds.
    """
    texts: dict[str, Any] = {
        "names": np.array(table.names),
        "class_names": np.array(table.class_names),
    }
    if table.groups is not None:
        texts["groups"] = np.array(table.groups)
    if table.times is not None:
        texts["times"] = table.times
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        # Without allow_pickle: numpy 2.1 would write it as one more array. All are plain.
        np.savez(stream, scores=table.scores, labels=table.labels, **texts)


def export_npy(path: Path, table: ScoreTable) -> None:
    """Write the scores alone, (V, C) or with segments and crops, and next to them their order.

    The list `<path>.txt` has lines of name, number of segments and label; `scores import --order`
    reads it.
    """
    if UNKNOWN in table.labels or any(" " in name for name in table.names):
        raise InputError(
            f"{path}: a list next to .npy needs labels and names without spaces; use npz"
        )
    lines = [
        f"{in_one_line(name, path=path)} {table.scores.shape[1]} {label}\n"
        for name, label in zip(table.names, table.labels.tolist(), strict=True)
    ]
    single = table.scores.shape[1:3] == (1, 1)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, table.scores[:, 0, 0] if single else table.scores, allow_pickle=False)
    write_text(Path(f"{path}.txt"), "".join(lines))


def export_gluoncv(path: Path, table: ScoreTable) -> None:
    """Write a line a view: `name [scores] label chunk crop`, as GluonCV and VideoMAE do."""
    if UNKNOWN in table.labels:
        raise InputError(f"{path}: this format needs a label for each video; use csv or npz")
    names = [in_one_line(name, path=path) for name in table.names]
    lines = [
        f"{name} {table.scores[row, chunk, crop].tolist()} {label} {chunk} {crop}\n"
        for row, (name, label) in enumerate(zip(names, table.labels.tolist(), strict=True))
        for chunk, crop in np.ndindex(table.scores.shape[1:3])
    ]
    write_text(path, "".join(lines))


WITH_GROUPS = ("npz",)  # formats that hold the groups of the videos
EXPORTS: dict[str, Callable[..., None]] = {
    "csv": export_csv,
    "top": export_top,
    "npz": export_npz,
    "npy": export_npy,
    "gluoncv": export_gluoncv,
}


def export_scores(
    path: str | PathLike[str], table: ScoreTable, *, format: str = "top", **options: Any
) -> None:
    """Write a table for other tools.

    Args:
        format: a name of `EXPORTS`.
        options: of the format: `top` of "top".

    Raises:
        InputError: an unknown format, or a table that the format cannot hold.
    """
    if format not in EXPORTS:
        raise InputError(f"format {format!r}; allowed: {', '.join(EXPORTS)}")
    EXPORTS[format](Path(path), table, **options)


def _labels(table: ScoreTable) -> list[str]:
    return ["" if label == UNKNOWN else table.class_names[label] for label in table.labels.tolist()]
