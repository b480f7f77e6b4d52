"""Rows of epochs, whatever they were written in: their columns, and where a run begins anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

COLUMNS = ("epoch", "batch_time", "data_time", "loss", "top1", "top5", "lr")
_SPELLINGS = {
    "epoch": "epoch",
    "batch time": "batch_time",
    "data time": "data_time",
    "loss": "loss",
    "prec@1": "top1",
    "prec@5": "top5",
    "lr": "lr",
}
# Tables without a heading: those of jeffreyyihuang's code, by how many columns they have.
_BY_COUNT = {
    7: COLUMNS,
    5: ("epoch", "batch_time", "loss", "top1", "top5"),
    4: ("batch_time", "loss", "top1", "top5"),
}

Row = dict[str, Decimal | None]


@dataclass(frozen=True)
class LoggedRun:
    """Epochs of one run and subset, without a restart among them.

    Attributes:
        source: the file in which they stand,
        line: and the line at which they, or their table, begin.
        subset: `train` or `val`.
        rows: `COLUMNS` that are known, `epoch` always; top-1 and top-5 in percent.
        videos: how many videos the percentages count, where the log says so.
    """

    source: str
    line: int
    subset: str
    rows: list[Row] = field(default_factory=list)
    videos: int | None = None

    def epochs(self) -> list[int]:
        """The numbers of its epochs."""
        return [int(row["epoch"] or 0) for row in self.rows]


def named_columns(heading: Sequence[str]) -> list[str] | None:
    """Our names for the columns of an epoch table; None where it is none, or has others."""
    names = [_SPELLINGS.get(text.strip().casefold(), "") for text in heading]
    return names if all(names) and {"loss", "top1"} <= set(names) else None


def columns_by_count(count: int) -> Sequence[str] | None:
    """The columns of an epoch table without a heading; None where none has so many."""
    return _BY_COUNT.get(count)


def split_restarts(
    rows: Sequence[Row], *, source: str, line: int, videos: int | None = None
) -> list[LoggedRun]:
    """Cut rows where the epoch does not grow: there another run was appended.

    Rows without epochs are numbered from 0. Rows that know a rate or a data time are of training.
    """
    subset = "train" if any(row.get("lr") or row.get("data_time") for row in rows) else "val"
    runs: list[LoggedRun] = []
    for index, row in enumerate(rows):
        epoch = row.get("epoch")
        numbered = {**row, "epoch": Decimal(index) if epoch is None else epoch}
        if not runs or int(numbered["epoch"] or 0) <= runs[-1].epochs()[-1]:
            runs.append(LoggedRun(source, line, subset, videos=videos))
        runs[-1].rows.append(numbered)
    return runs
