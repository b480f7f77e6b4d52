"""What `twostream extract-flow` shows: of a run, of a plan, of a bound that was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_extract.batch import STORED
from flow_extract.find_videos import printable

if TYPE_CHECKING:
    from flow_extract.batch import Report
    from flow_extract.bound import BoundChoice


def report_json(report: Report, store: Path) -> dict[str, Any]:
    """A run for a program."""
    return report.counts() | {
        "store": str(store),
        "problems": [
            {"name": problem.name, "status": problem.status, "reason": problem.reason}
            for problem in report.problems()
        ],
        "skipped": report.found.skipped,
        "ignored_files": len(report.found.ignored),
    }


def report_lines(report: Report, store: Path) -> Iterator[str]:
    """A run for people: the counts, then a line for each video that is not `ok`."""
    yield (
        "{videos:,} videos: {done_now:,} done now, {already_done:,} already done, "
        "{damaged:,} damaged, {failed:,} failed; store {store}"
    ).format(**report.counts(), store=store)
    for problem in report.problems():
        yield f"{problem.status:<9} {printable(problem.name)}: {problem.reason}"
    if any(result.status not in STORED for result in report.settled):
        yield "Failures of earlier runs were not tried again; --retry-failed does."


def plan_lines(plan: dict[str, Any]) -> Iterator[str]:
    """A plan for people: a line for each method."""
    yield f"{plan['videos']:,} videos, about {plan['frames']:,} frames; --jobs {plan['jobs']}"
    yield f"{'method':<12} {'ms/frame':>9} {'hours':>9} {'gigabytes':>9} {'files':>9}"
    for row in plan["methods"]:
        yield (
            f"{row['method']:<12} {row['milliseconds_per_frame']:9.1f} {row['hours']:9.3g} "
            f"{row['gigabytes']:9.3g} {row['files']:9,}"
        )
    for method, why in plan["unavailable"].items():
        yield f"{method:<12} cannot be used here: {why}"


def bound_line(choice: BoundChoice) -> str:
    """What was measured, and which bound that gives."""
    shares = ", ".join(f"{bound:g} px {share:.3%}" for bound, share in choice.shares.items())
    return f"clipped at {shares} ({choice.pairs} frame pairs): --bound {choice.bound:g}"
