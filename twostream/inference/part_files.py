"""The files of which a score file, and a feature file with it, are made part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fusion.feature_file import (
    FeatureTable,
    read_features,
    write_features,
    write_features_in_parts,
)
from fusion.score_file import ScoreTable, read_scores, write_scores
from fusion.score_stream import write_scores_in_parts
from twostream.errors import InputError
from twostream.inference.scoring import Scored

Batches = Sequence[Sequence[int]]


class Part(NamedTuple):
    """Some neighbouring videos of a score file, in whole batches."""

    path: Path
    batches: Batches
    empty: ScoreTable  # all but the scores
    with_features: bool

    @property
    def features(self) -> Path:
        """Its feature file."""
        return self.path.with_suffix(".features")

    def files(self) -> list[Path]:
        """All files that it consists of."""
        return [self.path, *([self.features] if self.with_features else [])]

    def is_done(self) -> bool:
        """Whether its files are there, whole, and of this very part."""
        try:
            found: list[ScoreTable | FeatureTable] = [read_scores(self.path)]
            if self.with_features:
                found.append(read_features(self.features))
        except (FileNotFoundError, InputError):
            return False
        return all(
            (table.about, table.names) == (self.empty.about, self.empty.names) for table in found
        )

    def write(self, scored: Sequence[Scored]) -> None:
        """Write its files: what was found for each of its batches."""
        if self.with_features:
            features = np.concatenate([one.features for one in scored])
            write_features(self.features, _feature_table(self.empty, features))
        scores = np.concatenate([one.logits for one in scored])
        write_scores(self.path, replace(self.empty, scores=scores))


def join_scores(path: Path, parts: Sequence[Part], whole: ScoreTable) -> None:
    """Write the score file that says what `whole` says, of the scores of all parts."""
    shape = (len(whole.names), *read_scores(parts[0].path).scores.shape[1:])
    whole = replace(whole, scores=np.broadcast_to(np.float32(0), shape))
    tables = (replace(read_scores(part.path), about=whole.about) for part in parts)
    write_scores_in_parts(path, tables, whole=whole)


def join_features(path: Path, parts: Sequence[Part], whole: ScoreTable) -> None:
    """Write the feature file that says what `whole` says, of the features of all parts."""
    shape = (len(whole.names), *read_features(parts[0].features).features.shape[1:])
    table = _feature_table(whole, np.broadcast_to(np.float16(0), shape))
    features = (read_features(part.features).features for part in parts)
    write_features_in_parts(path, features, whole=table)


def _feature_table(table: ScoreTable, features: np.ndarray) -> FeatureTable:
    """Features (V, S, D), as float16, of the videos of `table`."""
    with np.errstate(over="ignore"):  # what float16 cannot hold is found when it is checked
        half = features.astype(np.float16, copy=False)
    return FeatureTable(table.names, table.class_names, half, table.labels, table.about)
