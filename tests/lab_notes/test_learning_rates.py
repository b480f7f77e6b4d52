"""The plateau schedule gives the learning rates in the tables of a laboratory's notes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from twostream.training.schedule import Schedule

# Epoch tables without a heading, by their number of columns.
COLUMNS = {
    7: ("epoch", "batch time", "data time", "loss", "prec@1", "prec@5", "lr"),
    5: ("epoch", "batch time", "loss", "prec@1", "prec@5"),
}
Row = dict[str, float]


def read_runs(text: str) -> Iterator[list[Row]]:
    """Epochs of the Markdown tables that know their epoch, in runs: tables are cut at restarts."""
    for table in re.findall(r"(?:^ *\|.*\n?)+", text, re.MULTILINE):
        heading, _, *rows = (
            [cell.strip() for cell in line.strip(" |").split("|")] for line in table.splitlines()
        )
        columns = tuple(name.casefold() for name in heading)
        if re.fullmatch(r"\d+", heading[0]):
            columns, rows = COLUMNS.get(len(heading), ()), [heading, *rows]
        if not {"epoch", "loss"} <= set(columns):
            continue
        run: list[Row] = []
        for cells in filter(any, rows):
            plain = [re.sub(r"\\color\{\w+\}|[${}]", "", cell) for cell in cells]
            row = dict(zip(columns, map(float, plain), strict=True))
            if run and row["epoch"] <= run[-1]["epoch"]:
                yield run
                run = []
            run.append(row)
        if run:
            yield run


def rates_and_losses(text: str) -> Iterator[tuple[dict[int, float], dict[int, float]]]:
    """Rates and validation losses by epoch, of runs that have both for two epochs or more.

    A validation belongs to the nearest training above it that has all its epochs.
    """
    trainings: list[dict[int, float]] = []
    for run in read_runs(text):
        if "lr" in run[0]:
            trainings.append({int(row["epoch"]): row["lr"] for row in run})
            continue
        losses = {int(row["epoch"]): row["loss"] for row in run}
        matching = [rates for rates in trainings if losses.keys() <= rates.keys()]
        if matching:
            trainings.remove(matching[-1])
            if len(losses) > 1:
                yield matching[-1], losses


def test_the_plateau_schedule_explains_every_rate(shared_data: Path) -> None:
    folder = shared_data.parent / "lab-notes"
    notes = sorted(path for number in ("002", "003") for path in folder.glob(f"{number}_*.txt"))
    if len(notes) < 2:
        pytest.skip(f"no notes of training runs (002_*.txt, 003_*.txt) at {folder}")
    explained, exhausted = [], []
    for rates, losses in (pair for path in notes for pair in rates_and_losses(path.read_text())):
        first = next(iter(losses))
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rates[first])
        schedule = Schedule(optimizer, kind="plateau", epochs=len(losses))
        agreeing, without_effect = 0, None
        for epoch, loss in losses.items():
            schedule.begin(epoch)
            agreeing += schedule.lr == pytest.approx(rates[epoch], rel=1e-6)
            schedule.end(epoch, loss)
            if schedule.exhausted and without_effect is None:
                without_effect = epoch
        explained.append((agreeing, len(losses)))
        exhausted.append(without_effect)
    assert explained == [(38, 38), (5, 5), (13, 13), (17, 17)]
    assert exhausted[0] == 24  # the first epoch whose lowering of the rate had no effect
