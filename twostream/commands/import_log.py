"""`twostream logs import`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twostream.console import json_option, print_json

if TYPE_CHECKING:
    from twostream.logs.plateau import Replay
    from twostream.logs.runs import WholeRun

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a folder with a log.csv for each run here.",
)
@click.option(
    "--train-videos",
    type=click.IntRange(1),
    help="How many videos the percentages count.  [default: what the log says, or the official "
    "list that fits]",
)
@click.option("--test-videos", type=click.IntRange(1), help="The same for validation and results.")
@json_option
def import_log(
    files: tuple[Path, ...],
    out: Path | None,
    train_videos: int | None,
    test_videos: int | None,
    as_json: bool,
) -> None:
    """Turn training logs into run logs: console text, CSV and Markdown tables, in any mixture.

    Runs that were appended to one table are split where the epoch begins anew. Of each run it is
    said whether the plateau schedule explains its learning rates, and which percentages cannot be,
    as they are no k/N.
    """
    from twostream.logs.read_log import read_logs
    from twostream.logs.runs import odd_percentages, pair_runs

    given = {"train": train_videos, "val": test_videos}
    sizes = {subset: count for subset, count in given.items() if count}
    logged, results = read_logs(files, videos=sizes)
    runs = pair_runs(logged)
    shown = {
        "runs": [_described(run) for run in runs],
        "results": [result.__dict__ | {"value": float(result.value)} for result in results],
        "odd": list(odd_percentages(logged, results, videos=_result_videos(logged, test_videos))),
    }
    if out:
        _write(out, runs)
    if as_json:
        print_json(shown)
    else:
        click.echo("\n".join(_lines(shown)))


def _result_videos(logged: Sequence[Any], given: int | None) -> int | None:
    """Result tables stand beside the validation of the same videos, if there is only one size."""
    sizes = {run.videos for run in logged if run.subset == "val" and run.videos}
    return given or (sizes.pop() if len(sizes) == 1 else None)


def _described(run: WholeRun) -> dict[str, Any]:
    from twostream.logs.runs import replay_schedule

    schedule = replay_schedule(run)
    first = next(own for own in run if own is not None)
    return {
        "source": f"{first.source}:{first.line}",
        "subsets": {
            own.subset: {
                "epochs": [own.epochs()[0], own.epochs()[-1]],
                "rows": len(own.rows),
                "videos": own.videos,
                "best_top1": float(max(row.get("top1") or 0 for row in own.rows)),
            }
            for own in run
            if own is not None
        },
        "plateau": _schedule(schedule) if schedule else None,
    }


def _schedule(schedule: Replay) -> dict[str, Any]:
    return {
        "epochs": len(schedule.epochs),
        "explained": schedule.agreeing(),
        "floor_from": schedule.floor_from,
    }


def _lines(shown: dict[str, Any]) -> list[str]:
    lines = []
    for number, run in enumerate(shown["runs"], start=1):
        lines.append(f"run {number}, {run['source']}")
        for subset, own in run["subsets"].items():
            first, last = own["epochs"]
            lines.append(
                f"  {subset}: epochs {first} to {last} ({own['rows']} rows), best top-1 "
                f"{own['best_top1']:g} % of {own['videos'] or 'an unknown number of'} videos"
            )
        if plateau := run["plateau"]:
            lines.append(
                f"  plateau schedule: {plateau['explained']} of {plateau['epochs']} rates explained"
                + (f"; no fall was possible from epoch {plateau['floor_from']}"
                   if plateau["floor_from"] is not None else "")
            )  # fmt: skip
    if shown["results"]:
        lines.append(f"{len(shown['results'])} numbers in tables of results")
    return lines + [f"cannot be: {line}" for line in shown["odd"]]


def _write(out: Path, runs: Sequence[WholeRun]) -> None:
    from twostream.logs.runs import log_rows
    from twostream.training.run_log import write_log

    for number, run in enumerate(runs, start=1):
        write_log(out / f"run-{number:02d}" / "log.csv", log_rows(run))
