"""The files of which a score file is made part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.score_file import ScoreTable, read_scores, write_scores
from fusion.score_stream import write_scores_in_parts
from twostream.errors import InputError

Batches = Sequence[Sequence[int]]


class Part(NamedTuple):
    """Some neighbouring videos of a score file, in whole batches."""

    path: Path
    batches: Batches
    empty: ScoreTable  # all but the scores

    def is_done(self) -> bool:
        """Whether its file is there, whole, and of this very part."""
        try:
            table = read_scores(self.path)
        except InputError:
            return False
        return (table.about, table.names) == (self.empty.about, self.empty.names)

    def write(self, logits: Sequence[NDArray[np.float32]]) -> None:
        """Write its file: the logits of each of its batches."""
        write_scores(self.path, replace(self.empty, scores=np.concatenate(logits)))


def join_scores(path: Path, parts: Sequence[Part], whole: ScoreTable) -> None:
    """Write the score file that says what `whole` says, of the scores of all parts."""
    shape = (len(whole.names), *read_scores(parts[0].path).scores.shape[1:])
    whole = replace(whole, scores=np.broadcast_to(np.float32(0), shape))
    tables = (replace(read_scores(part.path), about=whole.about) for part in parts)
    write_scores_in_parts(path, tables, whole=whole)
