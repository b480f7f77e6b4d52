"""Score files that stay on disk: their header is read, their scores a few videos at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fusion.tables.score_file import (
    SCORE_FILE,
    ScoreTable,
    check_table,
    score_header,
)
from twostream_base.errors import InputError
from twostream_base.tensor_file import DTYPES, Streamed, TensorFile, write_tensor_file


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


# Score files larger than the memory, written from parts.
def write_scores_in_parts(path: Path, parts: Iterable[ScoreTable], *, whole: ScoreTable) -> None:
    """Write the videos of `parts`, one part after the other, as the one score file `path`.

    One part is in memory at a time. The file is the one that `write_scores` writes of all at once,
    byte for byte.

    Args:
        whole: what the file says; of its `scores` only shape and type count, so that
            `np.broadcast_to(np.float32(0), shape)` will do.

    Raises:
        InputError: a part is not sound, or the parts are not the videos of `whole` in order.
    """
    scores = Streamed(
        whole.scores.dtype.name, whole.scores.shape, _checked(parts, whole, where=str(path))
    )
    tensors = {"scores": scores, "labels": whole.labels}
    write_tensor_file(path, SCORE_FILE, score_header(whole), tensors)


def _checked(parts: Iterable[ScoreTable], whole: ScoreTable, *, where: str) -> Iterator[np.ndarray]:
    done = 0
    for part in parts:
        _check_part(part, whole, done, where=where)
        yield part.scores
        done += len(part.names)
    if done != len(whole.names):
        raise InputError(f"{where}: the parts hold {done} of {len(whole.names)} videos")


def _check_part(part: ScoreTable, whole: ScoreTable, begin: int, *, where: str) -> None:
    check_table(part, where=where)
    end = begin + len(part.names)
    expected = replace(whole, names=whole.names[begin:end], labels=whole.labels[begin:end])
    same = (
        (part.names, part.class_names, part.kind)
        == (expected.names, expected.class_names, expected.kind)
        and np.array_equal(part.labels, expected.labels)
        and part.scores.dtype == whole.scores.dtype
        and part.scores.shape[1:] == whole.scores.shape[1:]
    )
    if not same:
        raise InputError(f"{where}: the part of videos {begin} to {end} is not of this score file")
