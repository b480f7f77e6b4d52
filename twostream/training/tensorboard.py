"""The log as curves for TensorBoard, which is an extra."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twostream.errors import InputError

Rows = Sequence[dict[str, Any]]


def open_tensorboard(folder: Path) -> Callable[[Rows], None]:
    """Begin `folder` anew; return a function that adds rows of the log to it.

    A run that is taken up again writes its earlier rows first: the folder then holds the rows of
    log.csv, each once.

    Raises:
        InputError: the package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "--tensorboard needs a package that is not installed: pip install tensorboard"
        ) from error
    shutil.rmtree(folder, ignore_errors=True)
    writer = SummaryWriter(str(folder))

    def add(rows: Rows) -> None:
        for row in rows:
            for name, value in curves(row).items():
                writer.add_scalar(name, value, row["epoch"])
        writer.flush()

    return add


def curves(row: dict[str, Any]) -> dict[str, float]:
    """The points that one row of the log adds: accuracies in percent, times in seconds."""
    subset = row["subset"]
    points = {
        f"loss/{subset}": row["loss"],
        f"top1 percent/{subset}": 100 * row["top1"] / row["videos"],
        f"top5 percent/{subset}": 100 * row["top5"] / row["videos"],
        f"seconds/{subset}": row["total_time"],
    }
    if subset == "train":
        points |= {"lr": row["lr"], "waiting for data": row["data_time"] / row["batch_time"]}
    return points
