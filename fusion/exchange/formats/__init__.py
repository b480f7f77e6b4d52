"""Readers for the score files of other tools: a path becomes `ExternalScores`.

A reader raises InputError for a file that is not of its format, is damaged, unpacks to too much or
wants more than data to be built; it leaves out no video.

The command line lists the names below in its help, so numpy and the readers are imported late.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusion.exchange.formats.external_scores import ExternalScores

Reader = Callable[[Path], "ExternalScores"]


def _late(module: str, function: str) -> Reader:
    def read(path: Path) -> ExternalScores:
        imported = importlib.import_module(f"fusion.exchange.formats.{module}")
        reader: Reader = getattr(imported, function)
        return reader(path)

    return read


SCORE_FORMATS: dict[str, Reader] = {
    "two-stream-pickle": _late("pickles", "read_two_stream_pickle"),
    "counted-pickle": _late("pickles", "read_counted_pickle"),
    "tsn-npz": _late("arrays", "read_tsn_npz"),
    "npy": _late("arrays", "read_npy_scores"),
    "mmaction2": _late("pickles", "read_mmaction2_pickle"),
    "slowfast": _late("pickles", "read_slowfast_pickle"),
    "gluoncv": _late("text_files", "read_gluoncv_text"),
    "mat": _late("arrays", "read_mat_scores"),
    "csv": _late("text_files", "read_score_csv"),
    "npz": _late("arrays", "read_tsn_npz"),
}
