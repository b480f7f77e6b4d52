"""Score files that stay on disk: their header is read, their scores a few videos at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fusion.score_file import SCORE_FILE, ScoreTable, check_table
from twostream.errors import InputError
from twostream_base.tensor_file import DTYPES, TensorFile


@dataclass(frozen=True, eq=False)
class MappedScores:
    """A score file on disk.

    Attributes:
        head: all that it says but the scores: these are zeros that take no memory.
        file: open; `file.read_rows("scores", rows)` reads the scores of some videos.
        sha256: of the scores, as the file says.
    """

    head: ScoreTable
    file: TensorFile
    sha256: str


def map_scores(path: Path) -> MappedScores:
    """Read the header of a score file, and verify the scores against its checksum.

    Whether the scores are finite is not checked here.

    Raises:
        InputError: not a score file, or damaged.
    """
    file = TensorFile(path, SCORE_FILE)
    labels = file.read("labels")
    file.verify("scores")
    info = file.tensors["scores"]
    if info.dtype not in ("F32", "F16"):
        raise InputError(f"{path}: scores are {info.dtype}; they must be float32 or float16")
    head = ScoreTable(
        names=tuple(file.header["names"]),
        class_names=tuple(file.header["class_names"]),
        scores=np.broadcast_to(np.dtype(DTYPES[info.dtype]).type(0), info.shape),
        labels=labels,
        kind=file.header["kind"],
        about=file.header["about"],
    )
    first = replace(head, names=head.names[:1], labels=labels[:1], scores=head.scores[:1])
    check_table(first, where=str(path))
    return MappedScores(head, file, file.header["sha256"]["scores"])
