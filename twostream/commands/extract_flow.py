"""`twostream extract-flow`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flow_extract.methods import FLOW_METHODS
from twostream.commands import console
from twostream.commands.option_types import BOUND, CODEC_NAMES, OUT_FOLDER, PlugIn
from twostream_base.errors import InputError, some_of
from twostream_base.plugins import load, read_options

if TYPE_CHECKING:
    from flow_extract.extraction.executor import Engine
    from flow_extract.extraction.folder import Report


# Processes that share one accelerator by default; each holds the method's working memory there.
DEVICE_JOBS = 4
# As of `flow_extract.store.codecs`, whose module imports numpy.
DEFAULT_BOUND = 20.0

engine_options = console.section(
    "Speed",
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=600.0,
        help="Seconds without progress (a frame, a flow pair, a batch of features) after which a "
        "video counts as failed.",
    ),
    click.option(
        "--engine",
        type=click.Choice(["local", "dask"]),
        default="local",
        help="Run jobs on this machine, or on a Dask cluster.",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Address of a running Dask cluster, such as tcp://node:8786.",
    ),
)


def find_engine(name: str, scheduler: str | None, *, jobs: int | None) -> Engine:
    """What runs videos in processes of their own, as --engine, --scheduler and --jobs say."""
    from flow_extract.extraction.dask_engine import run_jobs_on_dask
    from flow_extract.extraction.executor import run_jobs

    if scheduler and name != "dask":
        raise click.UsageError("--scheduler needs --engine dask")
    if scheduler and jobs:
        raise click.UsageError("--jobs has no effect with --scheduler: the cluster has its workers")
    return partial(run_jobs_on_dask, scheduler=scheduler) if name == "dask" else run_jobs


@click.command(
    "extract-flow",
    cls=console.Command,
    common=(
        "--videos", "--store", "--method", "--short-side", "--bound", "--jobs", "--plan",
        "--retry-failed",
    ),
    example="twostream extract-flow --plan\n"
    "twostream extract-flow --videos UCF-101 --store store --method tvl1 --short-side 240",
)  # fmt: skip
@console.section(
    "Input and output",
    click.option(
        "--videos",
        cls=console.ProjectOption,
        required=True,
        type=OUT_FOLDER,
        help="Folder of videos, or of folders of numbered pictures.",
    ),
    click.option(
        "--store",
        cls=console.ProjectOption,
        required=True,
        type=OUT_FOLDER,
        help="Folder for the results.",
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
        help="Encoding of frames and flow: jpeg is small; raw and lz4 are lossless.",
    ),
    click.option(
        "--drop-repeated",
        is_flag=True,
        help="Leave out frames that repeat the one before, as conversions of the frame rate do.",
    ),
    click.option("--retry-failed", is_flag=True, help="Try again the videos that failed before."),
    click.option("--deep", is_flag=True, help="Detect changed videos by their sha256 as well."),
    click.option(
        "--plan", is_flag=True, help="Only estimate time and disk space, for each method."
    ),
)
@console.section(
    "Optical flow",
    click.option(
        "--method",
        type=PlugIn({**FLOW_METHODS, "none": None}),
        default="dis",
        help="Optical flow method; none stores RGB frames alone, to which flow can be added later.",
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
        type=BOUND,
        default=DEFAULT_BOUND,
        help="Clip flow to +- this many pixels per frame; auto measures a few videos first.",
    ),
)
@console.section(
    "Speed",
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        help="Videos processed at once.  [default: one per core]",
    ),
)
@engine_options
@console.trust_option
@console.json_option
@console.quiet_option
def extract_flow(
    videos: Path,
    store: Path,
    method: str,
    options: tuple[str, ...],
    device: str | None,
    bound: float | str,
    short_side: int | None,
    codec: str,
    drop_repeated: bool,
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
    under other settings. A video in a renamed folder keeps its store file, under the new name.
    Several runs on one store share the work. Videos that failed are listed again but tried again
    only when they have changed, or with --retry-failed. Exit code 1: some videos failed; they are
    listed.
    """
    from flow_extract.extraction.executor import available_cores
    from flow_extract.extraction.folder import extract_folder
    from flow_extract.extraction.settings import extraction_settings

    run_jobs = find_engine(engine, scheduler, jobs=jobs)
    cores = available_cores()
    if jobs is not None and jobs > cores:
        console.tell(f"--jobs {jobs} is more than the cores ({cores}); {cores} videos at one time")
    method_options = read_options(options, option="--method-option")
    if method == "none":
        context = click.get_current_context()
        for name in ("options", "device", "bound"):
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
                option = {"options": "--method-option"}.get(name, f"--{name}")
                raise click.UsageError(f"{option} has no effect with --method none: it has no flow")
        method_options, device, bound = {}, None, DEFAULT_BOUND  # whatever the project file says
    else:
        device = with_device(method, method_options, device)
    workers = min(cores, jobs or (cores if device in (None, "cpu") else DEVICE_JOBS))

    def make_settings(name: str, options: dict[str, Any], *, bound: float) -> dict[str, Any]:
        return extraction_settings(
            None if name == "none" else name,
            options,
            bound=bound,
            short_side=short_side,
            codec=codec,
            drop_repeated=drop_repeated,
            device=device,
        )

    if plan:
        source = click.get_current_context().get_parameter_source("method")
        every = source is click.core.ParameterSource.DEFAULT and not method_options
        methods = {name: {} for name in FLOW_METHODS} if every else {method: method_options}
        _print_plan(
            videos, store, methods, make_settings, workers=workers, device=device, as_json=as_json
        )
        return
    if isinstance(bound, str):  # auto
        trial = make_settings(method, method_options, bound=DEFAULT_BOUND)
        bound = _measure_bound(videos, store, trial, device=device)
    try:
        report = extract_folder(
            videos,
            store,
            settings=make_settings(method, method_options, bound=bound),
            workers=workers,
            timeout=timeout,
            progress=partial(console.progress, label="extract-flow", unit="video", quiet=quiet),
            engine=run_jobs,
            retry_failed=retry_failed,
            verify_checksums=deep,
            device=device,
        )
    except SystemExit:  # the signal of a batch system; Ctrl-C is explained for all commands alike
        console.tell("Stopped; re-run the same command to resume")
        raise
    _print_report(report, store, dropped=drop_repeated, as_json=as_json)
    if report.counts()["failed"]:
        click.get_current_context().exit(1)


def with_device(method: str, options: dict[str, Any], device: str | None) -> str | None:
    """Where the method computes, also by an option `device`, which is taken out of its options.

    Raises:
        InputError: the method has no choice.
    """
    device = device or options.pop("device", None)
    if device is None:
        return None
    with_choice = [
        name
        for name in (*FLOW_METHODS, method)
        if "device" in inspect.signature(load(name, FLOW_METHODS)).parameters
    ]
    if method not in with_choice:
        raise InputError(
            f"method {method!r} has no --device; these have: {', '.join(with_choice) or 'none'}"
        )
    return device


def _measure_bound(
    videos: Path, store: Path, settings: dict[str, Any], *, device: str | None
) -> float:
    """The bound of the store, or else the one that a few videos call for."""
    from flow_extract.extraction.estimate import bound_of_store, choose_bound
    from flow_extract.video.find_videos import require_videos

    known = bound_of_store(store, settings)
    if known is not None:
        console.tell(f"the store was started with --bound {known:g}, which is kept")
        return known
    paths = list(require_videos(videos, store=store).videos.values())
    choice = choose_bound(paths, settings, device=device)
    shares = ", ".join(f"{bound:g} px {share:.3%}" for bound, share in choice.shares.items())
    console.tell(f"clipped at {shares} ({choice.pairs} frame pairs): --bound {choice.bound:g}")
    return choice.bound


def _print_plan(
    videos: Path,
    store: Path,
    methods: dict[str, dict[str, Any]],
    make_settings: Callable[..., dict[str, Any]],
    *,
    workers: int,
    device: str | None,
    as_json: bool,
) -> None:
    """What each method would cost, or why it cannot be used here."""
    from flow_extract.extraction.estimate import estimate_methods
    from flow_extract.video.find_videos import require_videos

    paths = list(require_videos(videos, store=store).videos.values())
    settings: dict[str, dict[str, Any]] = {}
    unavailable: dict[str, str] = {}
    for name, options in methods.items():
        try:
            settings[name] = make_settings(name, options, bound=DEFAULT_BOUND)
        except InputError as error:
            unavailable[name] = str(error)
    plan = estimate_methods(paths, settings, workers=workers, device=device) | {
        "unavailable": unavailable
    }
    if as_json:
        console.print_json(plan)
        return
    console.show(
        f"{plan['videos']:,} videos, about {plan['frames']:,} frames; --jobs {plan['jobs']}"
    )
    console.show(f"{'method':<12} {'ms/frame':>9} {'hours':>9} {'gigabytes':>9} {'files':>9}")
    for row in plan["methods"]:
        console.show(
            f"{row['method']:<12} {row['milliseconds_per_frame']:9.1f} {row['hours']:9.3g} "
            f"{row['gigabytes']:9.3g} {row['files']:9,}"
        )
    for name, reason in unavailable.items():
        console.show(f"{name:<12} cannot be used here: {reason}")


def _print_report(report: Report, store: Path, *, dropped: bool, as_json: bool) -> None:
    """The counts, then a line for each video that is not `ok`, then the next command.

    Args:
        dropped: whether repeated frames are not in the store.
    """
    from flow_extract.extraction.folder import STORED

    counts = report.counts()
    if as_json:
        problems = [
            {"name": problem.name, "status": problem.status, "reason": problem.reason}
            for problem in report.problems()
        ]
        console.print_json(
            counts
            | {"store": str(store), "problems": problems, "skipped": report.found.skipped}
            | {"ignored": report.found.ignored, "moved": report.moved()}
        )
        return
    if report.found.ignored:
        names = [f"{path} ({why})" for path, why in report.found.ignored.items()]
        console.tell(f"{len(names):,} files are not videos and were ignored: {some_of(names)}")
    for path, why in report.found.skipped.items():
        console.tell(f"skipped   {path}: {why}")
    console.show(
        "{videos:,} videos: {done_now:,} done now, {already_done:,} already done, "
        "{damaged:,} damaged, {failed:,} failed; store {store}".format(**counts, store=store)
    )
    if moved := [f"{old} -> {new}" for old, new in report.moved().items()]:
        console.show(
            f"moved     {len(moved):,} store files were copied for videos with a new name, which "
            f"were not decoded again; the old ones stay until `twostream check-flow "
            f"--prune` (not where another folder fills this store too): {some_of(moved)}"
        )
    for problem in report.problems():
        console.show(f"{problem.status:<9} {problem.name}: {problem.reason}")
    if counts["repeated"] and dropped:
        console.show(
            "repeated  {repeated:,} frames were left out, {frames:,} are stored".format(**counts)
        )
    elif counts["repeated"]:
        console.show(
            "repeated  {repeated:,} of {frames:,} frames repeat the one before them; "
            "--drop-repeated leaves them out".format(**counts)
        )
    if any(result.status not in STORED for result in report.reused):
        console.show("Failures of earlier runs were not tried again; --retry-failed does.")
    elif not counts["failed"]:
        console.tell_next("train", "--stream", "spatial")
