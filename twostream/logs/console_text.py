"""The console text of jeffreyyihuang/two-stream-action-recognition and its forks."""

from __future__ import annotations

import re
from decimal import Decimal

from twostream.logs.epoch_rows import LoggedRun, Row, split_restarts

_STAGE = re.compile(r"==> Epoch:\[(\d+)/\d+\]\[(training|validation) stage\]")
_VIDEOS = re.compile(r"\(Training video, Validation video\):\( *(\d+) +(\d+) *\)")
_VALUE = re.compile(r"(Time|Data|Loss|Prec@1|Prec@5) \[([\d.eE+-]+)\]|^(LR) ([\d.eE+-]+)")
_COLUMNS = {"Time": "batch_time", "Data": "data_time", "Loss": "loss", "Prec@1": "top1",
            "Prec@5": "top5", "LR": "lr"}  # fmt: skip
_SUBSETS = {"training": "train", "validation": "val"}


def read_console(text: str, *, source: str) -> list[LoggedRun]:
    """Find the epochs of training and validation; `source` names the text.

    A start of the program, which says how many videos there are, begins a new run.
    """
    runs: list[LoggedRun] = []
    rows: dict[str, list[Row]] = {"train": [], "val": []}
    videos: dict[str, int] = {}
    row: Row | None = None
    start = 1
    for line_number, line in enumerate(text.splitlines(), start=1):
        if found := _VIDEOS.search(line):
            runs += _runs(rows, source, start, videos)
            rows, start = {"train": [], "val": []}, line_number
            videos = {"train": int(found[1]), "val": int(found[2])}
        elif found := _STAGE.search(line):
            row = {"epoch": Decimal(found[1])}
            start = start if any(rows.values()) else line_number
            rows[_SUBSETS[found[2]]].append(row)
        elif row is not None and not line.lstrip().startswith("|"):
            row |= _values(line) | row  # what is quoted further down does not count
    return runs + _runs(rows, source, start, videos)


def _values(line: str) -> Row:
    return {
        _COLUMNS[found[1] or found[3]]: Decimal(found[2] or found[4])
        for found in _VALUE.finditer(line.strip())
    }


def _runs(
    rows: dict[str, list[Row]], source: str, line: int, videos: dict[str, int]
) -> list[LoggedRun]:
    return [
        run
        for subset, own in rows.items()
        for run in split_restarts(
            [row for row in own if "loss" in row],
            source=source,
            line=line,
            videos=videos.get(subset),
        )
    ]
