"""Everything that the report says, worked out from the votes of the streams."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion.combining.inputs import Input
from fusion.combining.step import Step
from fusion.combining.video_scores import Votes
from fusion.evaluation.complementarity import (
    class_accuracy,
    complementarity,
    segment_accuracy,
)
from fusion.evaluation.diagnosis import diagnose
from fusion.evaluation.significance import compare
from fusion.fitting.calibrate_tables import Calibrated
from fusion.fitting.weight_search import WeightCurve, weight_curve
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError
from twostream_base.files import read_text


@dataclass(frozen=True, eq=False)
class Content:
    """What the sections of the report are made of.

    Attributes:
        votes: what each stream says of each video.
        results: scores (V, C) of each stream alone and each fusion, by name.
        shown: the name of the result that is looked at in detail.
        compared: `compare` of all results.
        tuned: `tune_in_folds` of the streams, or None.
        calibrated: the calibrated streams, or None.
        segments: `segment_accuracy` of the streams that have several.
        logs: rows of the `log.csv` of each run folder, by stream.
        files: the file of each stream.
        command: what repeats the report.
    """

    votes: Votes
    results: dict[str, np.ndarray]
    shown: str
    compared: dict[str, Any]
    tuned: dict[str, Any] | None
    calibrated: Calibrated | None
    segments: dict[str, list[dict[str, Any]]]
    logs: dict[str, list[dict[str, str]]]
    files: dict[str, str]
    command: str

    def best_stream(self) -> str:
        """The stream that alone gets most videos right: what a fusion must beat."""
        return max(self.votes.scores, key=lambda key: int(self.right(key).sum()))

    def right(self, name: str) -> np.ndarray:
        """Which videos a result gets right, bool (V,); False where there is no label."""
        return self.results[name].argmax(axis=1) == self.votes.labels

    def curve(self) -> WeightCurve | None:
        """How many videos are right at every weight of the first of two streams."""
        if len(self.votes.scores) != 2:
            return None
        known = self.votes.labels >= 0
        first, second = (scores[known] for scores in self.votes.scores.values())
        return weight_curve(first, second, self.votes.labels[known])

    def classes(self) -> list[dict[str, Any]]:
        """Videos and correct ones of each class, by the best stream and the shown result."""
        results = {name: self.results[name] for name in (self.best_stream(), self.shown)}
        return class_accuracy(results, self.votes.labels, self.votes.class_names)

    def complementarity(self) -> dict[str, Any]:
        """What the streams have in common."""
        return complementarity(self.votes)

    def warnings(self) -> list[str]:
        """What the reader should know before he believes a number."""
        fused = self.results[self.shown]
        return [*self.votes.warnings, *diagnose(self.votes, fused, strategy=self.shown)]


def make_content(
    votes: Votes,
    tables: Mapping[str, ScoreTable],
    results: dict[str, np.ndarray],
    *,
    shown: str | None,
    segments: Step,
    groups: Sequence[str] | None,
    rng: np.random.Generator,
    **given: Any,
) -> Content:
    """Compare all results, and look at the segments; `given` are the other parts of `Content`.

    Where `shown` is None it is the first fusion of calibrated streams, else the first fusion.

    Raises:
        InputError: no labels, fewer than two results, or a `shown` that is none of them.
    """
    if not (votes.labels >= 0).any():
        raise InputError("a report needs videos with labels; these score files have none")
    fusions = [name for name in results if name not in votes.scores]
    calibrated = [name for name in fusions if name.endswith(", calibrated")]
    chosen = shown or [*calibrated, *fusions, *results][0]
    if chosen not in results:
        raise InputError(f"--shown {chosen!r} is none of the results: {', '.join(results)}")
    several = {key: table for key, table in tables.items() if table.scores.shape[1] > 1}
    rows = {key: segment_accuracy(table, segments=segments) for key, table in several.items()}
    return Content(
        votes=votes,
        results=results,
        shown=chosen,
        compared=compare(results, votes.labels, rng=rng, groups=groups),
        segments=rows,
        **given,
    )


# The training logs that lie beside score files, in their run folders.
def run_logs(inputs: Mapping[str, Input]) -> dict[str, list[dict[str, str]]]:
    """Rows of `log.csv` by stream, of those whose score file lies in a run folder that has one."""
    logs = {}
    for key, one in inputs.items():
        log = next(iter(one.tables)).resolve().parents[1] / "log.csv"
        if log.is_file():
            logs[key] = list(csv.DictReader(io.StringIO(read_text(log))))
    return logs
