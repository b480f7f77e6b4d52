"""The log of one run: `log.csv`, and its lines on the screen."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from twostream.training.loop import EpochStats
from twostream_base.errors import InputError
from twostream_base.files import write_text

COLUMNS = (
    "epoch",
    "subset",
    "batch_time",
    "data_time",
    "total_time",
    "loss",
    "top1",
    "top5",
    "videos",
    "segments",
    "lr",
    "parts",
    "note",
)


def log_row(*, epoch: int, subset: str, stats: EpochStats, **facts: Any) -> dict[str, Any]:
    """One row of the log: what `stats` says of an epoch (from 0) and subset.

    Args:
        facts: the learning rate `lr`, and in how many `parts` a batch went through the network.
    """
    values = {"epoch": epoch, "subset": subset, **asdict(stats), "note": "", **facts}
    values["segments"] = list(stats.segments)  # top-1 of each segment alone
    return {column: values[column] for column in COLUMNS}


def best_epoch(rows: Sequence[dict[str, Any]], subset: str, *, by: str) -> int:
    """The epoch with the most correct videos of `subset` (by `top1`), or with their lowest loss."""
    candidates = [row for row in rows if row["subset"] == subset]
    if by == "loss":
        best = min(candidates, key=lambda row: row["loss"])
    else:
        best = max(candidates, key=lambda row: (row["top1"], -row["loss"]))
    return int(best["epoch"])


def validation_share(rows: Sequence[dict[str, Any]], epoch: int) -> float:
    """The part of an epoch's time that went into its validation, 0 to 1."""
    times = {row["subset"]: row["total_time"] for row in rows if row["epoch"] == epoch}
    return 1 - float(times["train"] / sum(times.values()))


def console_line(row: dict[str, Any], *, classes: int) -> str:
    """`Time [..] Data [..] Loss [..] Prec@1 [..] Prec@5 [..] LR ..`, the field's own, with units.

    A training step is a batch; in validation `Time` is that of a video. With five classes or fewer
    the best five are all of them, so nothing is said of them.
    """
    is_training = row["subset"] == "train"
    parts = [f"Time [{row['batch_time']:.3f} s per {'batch' if is_training else 'video'}]"]
    if is_training:
        parts.append(f"Data [{row['data_time']:.3f} s per batch]")
    parts.append(f"Loss [{row['loss']:.5f}]")
    for k in (1, 5) if classes > 5 else (1,):
        parts.append(f"Prec@{k} [{100 * row[f'top{k}'] / row['videos']:.3f} %]")
    if is_training:
        parts.append(f"LR {row['lr']:g}")
    return f"{' '.join(parts)}, {row['videos'] / row['total_time']:.1f} videos/s"


CURVE_ROWS = 10


def plot_curves(rows: Sequence[dict[str, Any]], *, select: str, width: int) -> list[str]:
    """Loss and top-1 by epoch as lines of plain characters, training `t` beside validation `v`.

    Epochs that share a column are averaged; where both curves meet stands `x`.

    Args:
        rows: of the log.
        select: the subset that selects the epoch, drawn as `v`.
        width: columns of the terminal.
    """
    lines: list[str] = []
    epochs = 1 + max(row["epoch"] for row in rows)
    for title, unit, value in (
        ("loss", "", lambda row: row["loss"]),
        ("top-1", " %", lambda row: 100 * row["top1"] / row["videos"]),
    ):
        points = {
            mark: {row["epoch"]: value(row) for row in rows if row["subset"] == subset}
            for mark, subset in (("t", "train"), ("v", select))
        }
        values = [value for curve in points.values() for value in curve.values()]
        low, high = min(values), max(values)
        ticks = [f"{bound:.4g}{unit}" for bound in (high, low)]
        margin = max(map(len, ticks))
        columns = max(1, min(width - margin - 2, 4 * (epochs - 1) + 1))
        picture = [[" "] * columns for _ in range(CURVE_ROWS)]
        for mark, curve in points.items():
            for column in range(columns):
                shared = [
                    value
                    for epoch, value in curve.items()
                    if round(epoch * (columns - 1) / max(1, epochs - 1)) == column
                ]
                if shared:
                    height = (sum(shared) / len(shared) - low) / (high - low or 1)
                    line = picture[round((1 - height) * (CURVE_ROWS - 1))]
                    line[column] = mark if line[column] == " " else "x"
        last = f"{epochs - 1}" if epochs > 1 else ""
        lines += ["", f"{title} by epoch: t training, v {select}"]
        for label, line in zip(
            [ticks[0], *[""] * (CURVE_ROWS - 2), ticks[1]], picture, strict=True
        ):
            lines.append(f"{label:>{margin}} |{''.join(line)}".rstrip())
        lines.append(f"{'':>{margin}} +{'-' * columns}")
        lines.append(f"{'':>{margin}}  0{last:>{max(columns - 1, 0)}}")
    return lines


def segments_line(row: dict[str, Any]) -> str | None:
    """`Segments alone: 12, 11 of 20 [60.0 55.0 %]`; None where they were not told apart."""
    counts = row["segments"]
    if len(counts) < 2:
        return None
    percent = " ".join(f"{100 * count / row['videos']:.1f}" for count in counts)
    return f"Segments alone: {', '.join(map(str, counts))} of {row['videos']} [{percent} %]"


def validation_advice(share: float) -> str | None:
    """What to do where validation takes most of an epoch's time; None where it does not."""
    if share < 0.5:
        return None
    return (
        f"validation is {100 * share:.1f} % of the epoch: try --val-every 2, --val-videos, or a "
        "--val-protocol of fewer views; the score files at the end are complete all the same"
    )


# What a stack of ten pairs takes to decode and crop, relative to `raw` (benchmarks/results).
FASTER_CODECS = {
    "jpeg": "extract-flow --codec lz4 makes a store that is decoded in about 0.6 of the time, "
    "--codec raw in a quarter, for more disk; or give it a smaller --short-side",
    "lz4": "extract-flow --codec raw makes a store that needs no decoding, for more disk; or give "
    "it a smaller --short-side",
    "raw": "extract-flow with a smaller --short-side makes a store that is read faster",
}


def bottleneck(
    row: dict[str, Any], *, codec: str, workers: int, cores: int, computing: float
) -> str | None:
    """What to do about a step that mostly waits for its data; None where it does not.

    Args:
        codec: of the store.
        workers: that load, on `cores` cores.
        computing: the share of their time that they compute; the rest they wait.
    """
    share = row["data_time"] / row["batch_time"]
    if share < 0.5:
        return None
    if workers <= cores and computing < 0.5:
        cause = (
            f"{workers} workers wait for {100 * (1 - computing):.0f} % of their time, so the disk "
            "bounds it: put the store on a faster one, or make it smaller, by extract-flow --codec "
            "jpeg or --short-side"
        )
    elif workers < cores:
        cause = f"{workers} of {cores} cores load; give --threads {cores}"
    else:
        cause = f"decoding {codec} on {cores} cores bounds it; {FASTER_CODECS[codec]}"
    return f"loading is {100 * share:.1f} % of the step: {cause}"


def curves(row: dict[str, Any]) -> dict[str, float]:
    """The points that a row adds to TensorBoard: accuracies in percent, times in seconds."""
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


def write_log(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write all rows of a run as CSV; lists with spaces between their values."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                key: " ".join(map(str, value)) if isinstance(value, list) else value
                for key, value in row.items()
            }
        )
    write_text(path, text.getvalue())


def open_tensorboard(
    folder: Path, points_of: Callable[[dict[str, Any]], Mapping[str, float]]
) -> Callable[[Sequence[dict[str, Any]]], None]:
    """Empty `folder`; return a function that adds rows of the log to it.

    A resumed run adds its earlier rows first: the folder then holds the rows of log.csv, each once.

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

    def add(rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            for name, value in points_of(row).items():
                writer.add_scalar(name, value, row["epoch"])
        writer.flush()

    return add


# Warnings shown while a run trains.
EPOCHS_OF_GRACE = 5


def not_learning(loss: float, *, guessing: float, epochs: int) -> str | None:
    """A sentence where the training loss is still that of guessing, or above it.

    Within 5 % of it nothing has been learnt. Further above, the network is surer than it is right,
    which is what steps that are too long do.

    Args:
        loss: mean training loss of the last epoch. epochs: how many have been trained.
        guessing: the loss where all classes are equally likely; ln(classes) of cross-entropy.
    """
    if epochs < EPOCHS_OF_GRACE or loss < 0.95 * guessing:
        return None
    text = f"after {epochs} epochs the training loss, {loss:.3f}, is "
    if loss > 1.05 * guessing:
        return (
            f"{text}{100 * (loss / guessing - 1):.0f} % above that of guessing ({guessing:.3f}): "
            "the network is surer than it is right; try a lower --lr, a --warmup or --clip-norm"
        )
    return (
        f"not learning: {text}within 5 % of guessing ({guessing:.3f}); try "
        "another --lr or a --warmup, and look at the input with show-flow"
    )


def exhausted(lr: float, *, epochs: int, planned: int) -> str:
    """The sentence with which a run ends whose schedule cannot act any more."""
    return (
        f"stopped after {epochs} of {planned} epochs: the validation loss has not fallen for two "
        f"epochs, and the learning rate, {lr:g}, can fall no further"
    )
