"""Everything that the report shows, computed from the scores of the streams."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import VideoScores
from fusion.combining.step import Step
from fusion.evaluation.comparison import compare, segment_accuracy
from fusion.fitting.calibration import CalibratedTables
from fusion.tables.join import JoinedTables
from twostream_base.errors import InputError
from twostream_base.files import read_text, reading


@dataclass(frozen=True, eq=False)
class Content:
    """What the sections of the report show.

    Attributes:
        streams: the scores of each stream for each video.
        results: the classes (V,) that each stream alone and each fusion predicts, by name.
        shown: the name of the result that is shown in detail.
        compared: `compare` of all results.
        tuned: `tune_in_folds` of the streams, or None.
        calibrated: the calibrated streams, or None.
        fitted_on: the results in which something was fitted on labels of these videos, and which.
        segments: `segment_accuracy` of the streams that have several.
        logs: rows of the `log.csv` of each run folder, by stream.
        files: the file of each stream.
        command: what repeats the report.
    """

    streams: VideoScores
    results: dict[str, np.ndarray]
    shown: str
    compared: dict[str, Any]
    tuned: dict[str, Any] | None
    calibrated: CalibratedTables | None
    fitted_on: dict[str, str]
    segments: dict[str, list[dict[str, Any]]]
    logs: dict[str, list[dict[str, str]]]
    files: dict[str, str]
    command: str

    def best_stream(self) -> str:
        """The stream that alone gets most videos right: what a fusion must beat."""
        return max(self.streams.scores, key=lambda key: int(self.right(key).sum()))

    def right(self, name: str) -> np.ndarray:
        """Which videos a result gets right, bool (V,); False where there is no label."""
        return self.results[name] == self.streams.labels


def make_content(
    streams: VideoScores,
    joined: JoinedTables,
    results: dict[str, np.ndarray],
    *,
    shown: str | None,
    segments: Step,
    groups: Sequence[str] | None,
    seed: int,
    **parts: Any,
) -> Content:
    """Compare all results, and evaluate the segments; `parts` are the other fields of `Content`.

    Where `shown` is None it is the first fusion of calibrated streams, else the first fusion.

    Raises:
        InputError: no labels, fewer than two results, or a `shown` that is none of them.
    """
    if not (streams.labels >= 0).any():
        raise InputError("a report needs videos with labels; these scores have none")
    fusions = [name for name in results if name not in streams.scores]
    calibrated = [name for name in fusions if name.endswith(", calibrated")]
    shown = shown or [*calibrated, *fusions, *results][0]
    if shown not in results:
        raise InputError(f"--shown {shown!r} is none of the results: {', '.join(results)}")
    return Content(
        streams=streams,
        results=results,
        shown=shown,
        compared=compare(results, streams.labels, rng=seed, groups=groups),
        segments={
            key: segment_accuracy(table, segments=segments)
            for key, table in joined.tables.items()
            if table.scores.shape[1] > 1
        },
        **parts,
    )


def read_run_logs(files: Mapping[str, Sequence[Path]]) -> dict[str, list[dict[str, str]]]:
    """Rows of `log.csv` by stream, where the score file is in a run folder that has one.

    Raises:
        InputError: it is no CSV, or a figure that the report draws is no number.
    """
    logs = {}
    for key, paths in files.items():
        log = paths[0].resolve().parents[1] / "log.csv" if paths else Path()
        if not log.is_file():
            continue
        with reading(log, "CSV"):
            logs[key] = list(csv.DictReader(io.StringIO(read_text(log))))
            for number, row in enumerate(logs[key], start=2):
                for column in ("epoch", "loss", "top1", "videos"):
                    if column != "epoch" and not row.get(column):
                        continue  # not known of this epoch
                    value = float(row.get(column) or "nan")
                    if not math.isfinite(value) or (column == "videos" and value <= 0):
                        raise ValueError(f"line {number}: {column} is {row.get(column)!r}")
    return logs
