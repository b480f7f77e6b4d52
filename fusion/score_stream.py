"""Score files larger than the memory, written from parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fusion.score_file import SCORE_FILE, ScoreTable, check_table, score_header
from twostream.errors import InputError
from twostream_base.tensor_file import Streamed, write_tensor_file


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
