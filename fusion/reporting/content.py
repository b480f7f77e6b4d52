"""Everything that the report shows of one split, computed from the scores of the streams."""

from __future__ import annotations

import csv
import io
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import VideoScores
from fusion.evaluation.comparison import Answers
from fusion.fitting.fitted_fusion import CalibratedTables
from twostream_base.files import read_text, reading

# The name of a video -> JPEG files of a frame and of its flow, where there are any.
Pictures = Callable[[str], tuple[bytes, bytes | None] | None]


@dataclass(frozen=True)
class Run:
    """The run folder of a stream: rows of its `log.csv`, and its `config.toml`."""

    log: Sequence[Mapping[str, str]]
    config: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Content:
    """What the sections of the report show.

    Attributes:
        streams: the scores of each stream for each video.
        results: the answers of each stream alone and of each fusion, by name.
        shown: the name of the result that is shown in detail.
        picked: whether `shown` is the best of several fusions on these very videos.
        compared: `compare` of all results.
        accuracies: `accuracy_of_ranks` of all results.
        mean_class: 95 % interval of the mean class accuracy of `shown`, in 0..100.
        tuned: `tune_in_folds` of the streams, or None.
        calibrated: the calibrated streams, or None.
        fitted_on: the results in which something was fitted on labels of these videos, and which.
        segments: `segments_accuracy` of the streams that have several.
        warnings: what the reader should know, a line each.
        runs: the run folder of each stream that has one.
        files: the files of each stream.
        seed: of the intervals of differences.
        split: its number, where it is known.
        pictures: of videos, or None.
    """

    streams: VideoScores
    results: dict[str, Answers]
    shown: str
    picked: bool
    compared: dict[str, Any]
    accuracies: dict[str, dict[str, Any]]
    mean_class: tuple[float, float]
    tuned: dict[str, Any] | None
    calibrated: CalibratedTables | None
    fitted_on: dict[str, str]
    segments: dict[str, list[dict[str, Any]]]
    warnings: list[str]
    runs: dict[str, Run]
    files: dict[str, list[str]]
    seed: int
    split: int | None = None
    pictures: Pictures | None = None

    def best_stream(self) -> str:
        """The stream that alone gets most videos right: what a fusion must beat."""
        return max(self.streams.scores, key=lambda key: int(self.right(key).sum()))

    def right(self, name: str) -> np.ndarray:
        """Which videos a result gets right, bool (V,); False where there is no label."""
        return self.results[name].first == self.streams.labels

    def pair(self, first: str, second: str) -> dict[str, Any]:
        """How two results differ, as `compare` has it; `first` is the first."""
        for pair in self.compared["pairs"]:
            if {pair["first"], pair["second"]} == {first, second}:
                return dict(with_first(pair, first))
        raise KeyError((first, second))


def with_first(pair: Mapping[str, Any], name: str) -> Mapping[str, Any]:
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


def read_runs(files: Mapping[str, Sequence[Path]]) -> dict[str, Run]:
    """The run folder of each stream whose score file is in one that has a `log.csv`.

    Raises:
        InputError: it is no CSV, or a figure that the report draws is no number.
    """
    runs = {}
    for key, paths in files.items():
        folder = paths[0].resolve().parents[1] if paths else Path()
        if (folder / "log.csv").is_file():
            with reading(folder / "log.csv", "CSV"):
                log = list(csv.DictReader(io.StringIO(read_text(folder / "log.csv"))))
                for number, row in enumerate(log, start=2):
                    for column in ("epoch", "loss", "top1", "videos"):
                        if column != "epoch" and not row.get(column):
                            continue  # not known of this epoch
                        value = float(row.get(column) or "nan")
                        if not math.isfinite(value) or (column == "videos" and value <= 0):
                            raise ValueError(f"line {number}: {column} is {row.get(column)!r}")
            config: dict[str, Any] = {}
            if (folder / "config.toml").is_file():
                with reading(folder / "config.toml", "TOML"):
                    config = tomllib.loads(read_text(folder / "config.toml"))
            runs[key] = Run(log, config)
    return runs
