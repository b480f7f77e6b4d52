"""Logged runs: training and validation brought together, and what can be said of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from twostream.logs.counts import decimals, is_count, nearest_count
from twostream.logs.epoch_rows import LoggedRun
from twostream.logs.markdown_tables import Result
from twostream.logs.plateau import Replay, replay


class WholeRun(NamedTuple):
    """The training and the validation of one run; one of them may not have been logged."""

    train: LoggedRun | None
    val: LoggedRun | None


def pair_runs(runs: Sequence[LoggedRun]) -> list[WholeRun]:
    """Give each validation the nearest earlier training that has all its epochs, in their order."""
    waiting: list[LoggedRun] = []
    whole: list[WholeRun] = []
    for run in runs:
        if run.subset == "train":
            waiting.append(run)
            continue
        fitting = [own for own in waiting if set(run.epochs()) <= set(own.epochs())]
        if fitting:
            waiting.remove(fitting[-1])
        whole.append(WholeRun(fitting[-1] if fitting else None, run))
    whole += [WholeRun(run, None) for run in waiting]
    order = {id(run): place for place, run in enumerate(runs)}
    return sorted(whole, key=lambda both: order[id(both.train or both.val)])


def replay_schedule(run: WholeRun) -> Replay | None:
    """The plateau rule held against the rates of a run; None where it has no rates or no losses."""
    if run.train is None or run.val is None:
        return None
    rates = {int(row["epoch"] or 0): row.get("lr") for row in run.train.rows}
    rows = [row for row in run.val.rows if rates.get(int(row["epoch"] or 0))]
    if len(rows) < 2:
        return None
    epochs = [int(row["epoch"] or 0) for row in rows]
    losses = [float(row["loss"] or 0) for row in rows]
    return replay(epochs, losses, [float(rates[epoch] or 0) for epoch in epochs])


def log_rows(run: WholeRun) -> list[dict[str, Any]]:
    """The rows of our `log.csv`: top-1 and top-5 as counts, empty where the log does not say."""
    rows = [
        {"subset": own.subset, "videos": own.videos, "segments": (), **_counted(row, own.videos)}
        for own in (run.train, run.val)
        if own is not None
        for row in own.rows
    ]
    return sorted(rows, key=lambda row: (row["epoch"], row["subset"]))


def odd_percentages(
    runs: Sequence[LoggedRun], results: Sequence[Result], *, videos: int | None
) -> Iterator[str]:
    """Percentages that are no count of the videos, a line each; for results of `videos`."""
    for run in runs:
        for column in ("top1", "top5"):
            values = {int(row["epoch"] or 0): row[column] for row in run.rows if row.get(column)}
            if run.videos:
                for epoch, line in _odd(values, run.videos):  # type: ignore[arg-type]
                    yield f"{run.source}:{run.line}: {run.subset} epoch {epoch}, {column}: {line}"
    if videos:
        tables = {(result.source, result.column) for result in results}
        for source, column in sorted(tables):
            own = [item for item in results if (item.source, item.column) == (source, column)]
            for name, line in _odd({item.name: item.value for item in own}, videos):
                yield f"{source}: {name}, {column}: {line}"


def _odd(values: dict[Any, Decimal], videos: int) -> Iterator[tuple[Any, str]]:
    digits = decimals(list(values.values()))
    for key, percent in values.items():
        if not is_count(percent, videos, digits=digits):
            count = nearest_count(percent, videos)
            exact = round(Decimal(100 * count) / videos, digits)
            yield key, f"{percent} is no k/{videos}; {count}/{videos} is {exact}"


def _counted(row: dict[str, Decimal | None], videos: int | None) -> dict[str, Any]:
    counts = {
        column: nearest_count(value, videos) if videos and (value := row.get(column)) else ""
        for column in ("top1", "top5")
    }
    times = {column: row.get(column, "") for column in ("batch_time", "data_time", "loss")}
    rate = row.get("lr")
    return {"epoch": int(row["epoch"] or 0), **times, **counts, "lr": f"{rate:g}" if rate else ""}
