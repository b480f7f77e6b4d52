"""A log file of any kind, read to runs and results."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from twostream.errors import InputError
from twostream.files import read_text
from twostream.logs.cells import number
from twostream.logs.console_text import read_console
from twostream.logs.counts import fitting_size
from twostream.logs.epoch_rows import LoggedRun, named_columns, split_restarts
from twostream.logs.markdown_tables import Result, read_markdown


def read_logs(
    paths: Sequence[Path], *, videos: dict[str, int]
) -> tuple[list[LoggedRun], list[Result]]:
    """Read console text, CSV tables and Markdown notes, whatever each file holds.

    How many videos a subset has comes from `videos`, else from the log, else from the official list
    whose counts its percentages are.

    Raises:
        InputError: a file in which there is neither an epoch nor a result.
    """
    runs: list[LoggedRun] = []
    results: list[Result] = []
    for path in paths:
        text = read_text(path)
        tables, found = read_markdown(text, source=path.name)
        own = [*read_console(text, source=path.name), *tables, *_csv_runs(text, path.name)]
        if not own and not found:
            raise InputError(
                f"{path}: no epochs and no results; expected console text, a CSV or a Markdown "
                "table with columns Epoch, Loss, Prec@1"
            )
        runs += sorted(own, key=lambda run: run.line)
        results += found
    return [_counted(run, videos.get(run.subset)) for run in runs], results


def _counted(run: LoggedRun, videos: int | None) -> LoggedRun:
    percents = [percent for row in run.rows if (percent := row.get("top1"))]
    return replace(run, videos=videos or run.videos or fitting_size(percents))


def _csv_runs(text: str, source: str) -> list[LoggedRun]:
    lines = text.splitlines()
    columns = named_columns(lines[0].split(",")) if lines else None
    if columns is None:
        return []
    rows = [
        dict(zip(columns, map(number, cells), strict=True))
        for cells in csv.reader(lines[1:])
        if len(cells) == len(columns)
    ]
    return split_restarts(rows, source=source, line=1)
