"""Readers for the score files of other tools: a path becomes `ForeignScores`.

The command line reads the names below for its help, so numpy and the readers come late.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusion.formats.foreign_scores import ForeignScores


def _two_stream_pickle(path: Path) -> ForeignScores:
    from fusion.formats.two_stream_pickle import read_two_stream_pickle

    return read_two_stream_pickle(path)


def _tsn_npz(path: Path) -> ForeignScores:
    from fusion.formats.tsn_npz import read_tsn_npz

    return read_tsn_npz(path)


SCORE_FORMATS: dict[str, Callable[[Path], ForeignScores]] = {
    "two-stream-pickle": _two_stream_pickle,
    "tsn-npz": _tsn_npz,
}
