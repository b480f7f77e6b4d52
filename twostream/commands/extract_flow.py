"""The command `twostream extract-flow`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flow_extract.extraction.folder import STORED
from flow_extract.methods import FLOW_METHODS
from flow_extract.video.find_videos import printable
from twostream.commands.console import (
    Command,
    ProjectOption,
    json_option,
    note,
    print_json,
    progress,
    quiet_option,
    section,
)
from twostream.commands.plugin_type import PlugIn
from twostream_base.errors import InputError, some_of
from twostream_base.plugins import load, read_options

if TYPE_CHECKING:
    from flow_extract.extraction.estimate import BoundChoice
    from flow_extract.extraction.folder import Report


FOLDER = click.Path(file_okay=False, path_type=Path)
# Keys of `codecs.CODECS`, whose module imports numpy.
CODEC_NAMES = ("jpeg", "raw", "lz4")
# Processes that share one accelerator by default; each holds the method's working memory there.
DEVICE_JOBS = 4


class Bound(click.ParamType):
    """Pixels, or `auto`."""

    name = "pixels|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Accept a number above 0; `auto` stays text."""
        if value == "auto":
            return value
        return click.FloatRange(min=0, min_open=True).convert(value, param, ctx)


@click.command(
    "extract-flow",
    cls=Command,
    common=(
        "--videos", "--store", "--method", "--short-side", "--bound", "--jobs", "--plan",
        "--retry-failed",
    ),
    example="twostream extract-flow --plan\n"
    "twostream extract-flow --videos UCF-101 --store store --method tvl1 --short-side 240",
)  # fmt: skip
@section(
    "Input and output",
    click.option(
        "--videos", cls=ProjectOption, required=True, type=FOLDER, help="Folder of videos."
    ),
    click.option(
        "--store", cls=ProjectOption, required=True, type=FOLDER, help="Folder for the results."
    ),
    click.option(
        "--short-side",
        type=click.IntRange(min=1),
        help="Resize the short side of frames to this, pixels.  [default: no resizing]",
    ),
    click.option(
        "--codec",
        type=click.Choice(CODEC_NAMES),
        default="jpeg",
        show_default=True,
        help="Encoding of frames and flow: jpeg is small; raw and lz4 are lossless.",
    ),
    click.option("--retry-failed", is_flag=True, help="Try again the videos that failed before."),
    click.option("--deep", is_flag=True, help="Detect changed videos by their sha256 as well."),
    click.option(
        "--plan", is_flag=True, help="Only estimate time and disk space, for each method."
    ),
)
@section(
    "Optical flow",
    click.option(
        "--method",
        type=PlugIn(FLOW_METHODS),
        default="dis",
        show_default=True,
        help="Optical flow method.",
    ),
    click.option(
        "--method-option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the method, such as preset=fast; repeatable.",
    ),
    click.option(
        "--device",
        metavar="NAME",
        help="Where flow is computed: cpu, cuda, cuda:1; for methods that have a choice.",
    ),
    click.option(
        "--bound",
        type=Bound(),
        default=20.0,
        show_default=True,
        help="Clip flow to +- this many pixels per frame; auto measures a few videos first.",
    ),
)
@section(
    "Speed",
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        help="Videos processed at once.  [default: one per core]",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=600.0,
        show_default=True,
        help="Seconds after which a video counts as failed.",
    ),
    click.option(
        "--engine",
        type=click.Choice(["local", "dask"]),
        default="local",
        show_default=True,
        help="Run jobs on this machine, or on a Dask cluster.",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Address of a running Dask cluster, such as tcp://node:8786.",
    ),
)
@json_option
@quiet_option
def extract_flow(
    videos: Path,
    store: Path,
    method: str,
    options: tuple[str, ...],
    device: str | None,
    bound: float | str,
    short_side: int | None,
    codec: str,
    jobs: int | None,
    timeout: float,
    engine: str,
    scheduler: str | None,
    retry_failed: bool,
    deep: bool,
    plan: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Decode videos and store RGB frames and optical flow, one file per video.

    Re-run the same command to process what is missing: new videos, changed ones, or all of them
    under other settings. Several runs on one store share the work. Videos that failed are listed
    again but tried again only when they have changed, or with --retry-failed. Exit code 1: some
    videos failed; they are listed.
    """
    from flow_extract.extraction.folder import extract_folder

    run = _engine(engine, scheduler, jobs)
    workers = _workers(jobs, device)
    chosen = with_device(method, read_options(options, option="--method-option"), device)
    make_settings = partial(_settings, short_side=short_side, codec=codec)
    if plan:
        _plan(videos, store, _methods(method, chosen), make_settings, workers, as_json)
        return
    if bound == "auto":
        bound = _measured_bound(videos, store, make_settings(method, chosen))
    with _saying_how_to_go_on():
        report = extract_folder(
            videos,
            store,
            settings=make_settings(method, chosen, bound=bound),
            workers=workers,
            timeout=timeout,
            progress=partial(progress, label="extract-flow", unit="video", quiet=quiet),
            engine=run,
            retry_failed=retry_failed,
            deep=deep,
        )
    _show_report(report, store, as_json=as_json)


def with_device(
    method: str, options: dict[str, Any], device: str | None
) -> dict[str, int | float | bool | str]:
    """Options of a method with `device` among them, if one is given and the method has a choice."""
    if device is None:
        return options
    able = [name for name in (*FLOW_METHODS, method) if _has_device(name)]
    if method not in able:
        raise InputError(
            f"method {method!r} has no --device; these have: {', '.join(able) or 'none'}"
        )
    return options | {"device": device}


def _has_device(method: str) -> bool:
    return "device" in inspect.signature(load(method, FLOW_METHODS)).parameters


def _workers(jobs: int | None, device: str | None) -> int:
    from flow_extract.extraction.executor import available_cores

    cores = available_cores()
    if jobs is not None and jobs > cores:
        note(f"--jobs {jobs} is more than the cores ({cores}); {cores} videos at one time")
    shared = cores if device in (None, "cpu") else DEVICE_JOBS
    return min(cores, jobs or shared)


def _engine(name: str, scheduler: str | None, jobs: int | None) -> Callable[..., Any]:
    from flow_extract.extraction.dask_engine import run_jobs_on_dask
    from flow_extract.extraction.executor import run_jobs

    if scheduler and name != "dask":
        raise click.UsageError("--scheduler needs --engine dask")
    if scheduler and jobs:
        raise click.UsageError(
            "--jobs has no meaning with --scheduler: the cluster has its workers"
        )
    return partial(run_jobs_on_dask, scheduler=scheduler) if name == "dask" else run_jobs


def _settings(
    method: str,
    options: dict[str, Any],
    *,
    bound: float | str = 20.0,
    short_side: int | None,
    codec: str,
) -> dict[str, Any]:
    from flow_extract.store.settings import extraction_settings

    pixels = 20.0 if isinstance(bound, str) else bound
    return extraction_settings(method, options, bound=pixels, short_side=short_side, codec=codec)


def _measured_bound(videos: Path, store: Path, settings: dict[str, Any]) -> float:
    from flow_extract.extraction.estimate import bound_of_store, choose_bound
    from flow_extract.extraction.folder import videos_below

    known = bound_of_store(store, settings)
    if known is not None:
        note(f"the store has been begun with --bound {known:g}, which is kept")
        return known
    choice = choose_bound(list(videos_below(videos, store=store).videos.values()), settings)
    note(bound_line(choice))
    return choice.bound


def _methods(method: str, options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Method -> options: the one that was asked for, else all."""
    source = click.get_current_context().get_parameter_source("method")
    if source is click.core.ParameterSource.DEFAULT and not options:
        return {name: {} for name in FLOW_METHODS}
    return {method: options}


def _plan(
    videos: Path,
    store: Path,
    methods: dict[str, dict[str, Any]],
    make_settings: Callable[..., dict[str, Any]],
    workers: int,
    as_json: bool,
) -> None:
    from flow_extract.extraction.estimate import estimate_methods
    from flow_extract.extraction.folder import videos_below

    found = list(videos_below(videos, store=store).videos.values())
    settings: dict[str, dict[str, Any]] = {}
    unavailable: dict[str, str] = {}
    for name, options in methods.items():
        try:
            settings[name] = make_settings(name, options)
        except InputError as error:
            unavailable[name] = str(error)
    plan = estimate_methods(found, settings, workers=workers) | {"unavailable": unavailable}
    print_json(plan) if as_json else click.echo("\n".join(plan_lines(plan)))


@contextmanager
def _saying_how_to_go_on() -> Iterator[None]:
    """Ctrl-C is explained for all commands alike; this is for the signal of a batch system."""
    try:
        yield
    except SystemExit:
        note("Stopped; re-run the same command to resume")
        raise


def _show_report(report: Any, store: Path, *, as_json: bool) -> None:
    from flow_extract.video.find_videos import printable

    if as_json:
        print_json(report_json(report, store))
    else:
        if report.found.ignored:
            ignored = [printable(path) for path in report.found.ignored]
            note(f"{len(ignored):,} files that are no videos are ignored: {some_of(ignored)}")
        for path, why in report.found.skipped.items():
            note(f"skipped   {printable(path)}: {why}")
        click.echo("\n".join(report_lines(report, store)))
    if report.counts()["failed"]:
        click.get_current_context().exit(1)


# What `twostream extract-flow` shows: of a run, of a plan, of a bound that was measured.
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
