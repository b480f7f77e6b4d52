"""Tables in Markdown notes: those of epochs, and those of results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from twostream.logs.cells import number, pair
from twostream.logs.epoch_rows import LoggedRun, columns_by_count, named_columns, split_restarts

_RULE = re.compile(r":?-+:?")


@dataclass(frozen=True)
class Result:
    """One number of a result table: what it belongs to, its column, and the digits as printed."""

    source: str
    name: str
    column: str
    value: Decimal


@dataclass(frozen=True)
class Table:
    """A table: the line it begins at, from 1, its heading (empty if it has none), and its rows."""

    line: int
    heading: list[str]
    rows: list[list[str]]


def read_markdown(text: str, *, source: str) -> tuple[list[LoggedRun], list[Result]]:
    """Find epoch tables and result tables; `source` names the text.

    A table whose heading is numbers has none: its first row stands there.
    """
    runs: list[LoggedRun] = []
    results: list[Result] = []
    for table in _tables(text):
        columns = named_columns(table.heading) if table.heading else _columns(table)
        if columns:
            runs += split_restarts(_epoch_rows(table, columns), source=source, line=table.line)
        elif table.heading:
            results += _results(table, f"{source}:{table.line}")
    return runs, results


def _tables(text: str) -> Iterator[Table]:
    block: list[list[str]] = []
    lines = [*text.splitlines(), ""]
    for number_, line in enumerate(lines, start=1):
        stripped = line.strip()
        if stripped.startswith("|"):
            block.append([cell.strip() for cell in stripped.strip("|").split("|")])
        elif block:
            if len(block) > 1 and all(_RULE.fullmatch(cell) for cell in block[1]):
                yield _table(number_ - len(block), block)
            block = []


def _table(line: int, block: list[list[str]]) -> Table:
    heading, rows = block[0], [row for row in block[2:] if any(row)]
    if all(number(cell) is not None for cell in heading):
        return Table(line, [], [heading, *rows])
    return Table(line, heading, rows)


def _columns(table: Table) -> Sequence[str] | None:
    return columns_by_count(len(table.rows[0]))


def _epoch_rows(table: Table, columns: Sequence[str]) -> list[dict[str, Decimal | None]]:
    return [
        dict(zip(columns, map(number, row), strict=True))
        for row in table.rows
        if len(row) == len(columns)
    ]


def _results(table: Table, where: str) -> Iterator[Result]:
    for row in table.rows:
        texts = [cell for cell in row if cell and number(cell) is None and pair(cell) is None]
        name = " ".join(texts[:2])
        for heading, cell in zip(table.heading, row, strict=False):
            for column, value in _values(heading, cell):
                yield Result(where, name, column, value)


def _values(heading: str, cell: str) -> Iterator[tuple[str, Decimal]]:
    single, both = number(cell), pair(cell)
    if single is not None:
        yield heading, single
    for which, value in zip(("top1", "top5"), both or (), strict=False):
        if value is not None:
            yield f"{which} of {heading}", value
