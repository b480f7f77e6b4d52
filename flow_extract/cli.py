"""The command `twostream extract-flow`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flow_extract.methods import FLOW_METHODS
from twostream.console import (
    ProjectOption,
    json_option,
    note,
    print_json,
    progress,
    quiet_option,
)
from twostream.errors import some_of
from twostream.plugins import PlugIn

if TYPE_CHECKING:
    from flow_extract.batch import Report

FOLDER = click.Path(file_okay=False, path_type=Path)


def read_option(text: str) -> tuple[str, int | float | bool | str]:
    """Split `key=value`; the value becomes an int, a float, a bool or stays a string."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.BadParameter(f"{text!r} is not key=value", param_hint="--method-option")
    if value.lower() in ("true", "false"):
        return key, value.lower() == "true"
    for number in (int, float):
        try:
            return key, number(value)
        except ValueError:
            continue
    return key, value


@click.command("extract-flow")
@click.option("--videos", cls=ProjectOption, required=True, type=FOLDER, help="Folder of videos.")
@click.option("--store", cls=ProjectOption, required=True, type=FOLDER, help="Where results go.")
@click.option(
    "--method",
    type=PlugIn(FLOW_METHODS),
    default="dis",
    show_default=True,
    help="Optical flow method.",
)
@click.option(
    "--method-option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the method, such as preset=fast. Repeatable.",
)
@click.option(
    "--bound",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Flow is clipped to this many pixels per frame.",
)
@click.option(
    "--short-side",
    type=click.IntRange(min=1),
    help="Resize to this many pixels.  [default: native size]",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Videos at one time.  [default: one per core]"
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds allowed to one video.",
)
@click.option("--retry-failed", is_flag=True, help="Try videos again that failed before.")
@json_option
@quiet_option
def extract_flow(
    videos: Path,
    store: Path,
    method: str,
    options: tuple[str, ...],
    bound: float,
    short_side: int | None,
    jobs: int | None,
    timeout: float,
    retry_failed: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Decode videos once: RGB frames and optical flow into a store, one file per video.

    Running it again does only what is missing: new videos, changed ones, and all of them under
    other settings. A video that failed is listed again but not tried again, unless it has changed
    or --retry-failed is given. Exit code 1: some videos failed; they are listed.
    """
    from flow_extract.batch import extract_folder
    from flow_extract.executor import available_cores
    from flow_extract.settings import extraction_settings

    chosen = dict(map(read_option, options))
    settings = extraction_settings(method, chosen, bound=bound, short_side=short_side)
    report = extract_folder(
        videos,
        store,
        settings=settings,
        workers=jobs or available_cores(),
        timeout=timeout,
        retry_failed=retry_failed,
        progress=partial(progress, label="extract-flow", unit="video", quiet=quiet),
    )
    (_print_json if as_json else _print_text)(report, store)
    if report.counts()["failed"]:
        click.get_current_context().exit(1)


def _print_json(report: Report, store: Path) -> None:
    result: dict[str, Any] = report.counts() | {
        "store": str(store),
        "problems": [
            {"name": problem.name, "status": problem.status, "reason": problem.reason}
            for problem in report.problems()
        ],
        "skipped": report.found.skipped,
        "ignored_files": len(report.found.ignored),
    }
    print_json(result)


def _print_text(report: Report, store: Path) -> None:
    from flow_extract.batch import STORED
    from flow_extract.find_videos import printable

    if report.found.ignored:
        ignored = [printable(path) for path in report.found.ignored]
        note(f"{len(ignored):,} files that are no videos are ignored: {some_of(ignored)}")
    for path, why in report.found.skipped.items():
        note(f"skipped   {printable(path)}: {why}")
    click.echo(
        "{videos:,} videos: {done_now:,} done now, {already_done:,} already done, "
        "{damaged:,} damaged, {failed:,} failed; store {store}".format(
            **report.counts(), store=store
        )
    )
    for problem in report.problems():
        click.echo(f"{problem.status:<9} {printable(problem.name)}: {problem.reason}")
    if any(result.status not in STORED for result in report.settled):
        click.echo("Failures of earlier runs were not tried again; --retry-failed does.")
