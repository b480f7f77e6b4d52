"""Readers for the score files of other tools: a path becomes `ForeignScores`.

The command line reads the names below for its help, so numpy and the readers come late.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusion.exchange.formats.foreign_scores import ForeignScores

Reader = Callable[[Path], "ForeignScores"]


def _late(module: str, function: str) -> Reader:
    def read(path: Path) -> ForeignScores:
        reader: Reader = getattr(
            importlib.import_module(f"fusion.exchange.formats.{module}"), function
        )
        return reader(path)

    return read


SCORE_FORMATS: dict[str, Reader] = {
    "two-stream-pickle": _late("two_stream_pickle", "read_two_stream_pickle"),
    "counted-pickle": _late("two_stream_pickle", "read_counted_pickle"),
    "tsn-npz": _late("npy_npz", "read_tsn_npz"),
    "npy": _late("npy_npz", "read_npy_scores"),
    "mmaction2": _late("mmaction2_pickle", "read_mmaction2_pickle"),
    "slowfast": _late("slowfast_pickle", "read_slowfast_pickle"),
    "gluoncv": _late("gluoncv_text", "read_gluoncv_text"),
    "mat": _late("decision_values", "read_decision_values"),
    "csv": _late("score_csv", "read_score_csv"),
    "npz": _late("npy_npz", "read_tsn_npz"),
}
