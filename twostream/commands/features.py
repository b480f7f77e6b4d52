"""`twostream features`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from twostream.commands import console, shared_options
from twostream.commands.extract_flow import engine_options, find_engine
from twostream.commands.option_types import FOLDER, OUT_FOLDER
from twostream.commands.predict import extraction_options, score_names
from twostream_base.errors import InputError

if TYPE_CHECKING:
    from twostream.models.external_networks import ExternalNetwork

network_options = console.section(
    "Network",
    click.option(
        "--run",
        "run_folders",
        type=FOLDER,
        multiple=True,
        help="Run folder of a stream; repeatable, for another stream.",
    ),
    click.option(
        "--weights",
        multiple=True,
        metavar="FILE|NAME",
        help="Checkpoint of another tool, or one of `twostream weights`; repeatable, for another "
        "stream.",
    ),
    shared_options.checkpoint,
)
grid_options = console.section(
    "Features",
    click.option(
        "--stride", type=click.IntRange(1), default=8, help="Frames from one feature to the next."
    ),
    click.option(
        "--window",
        type=click.IntRange(1),
        help="Frames that a feature is of: a snippet in the middle of them.  [default: those of "
        "the longest snippet]",
    ),
    click.option(
        "--crops",
        type=click.Choice(["whole", "1", "3", "5", "10"]),
        default="1",
        help="Views of each frame, of which a feature is the mean: the whole frame, the centre, "
        "three, five or ten crops.",
    ),
    click.option(
        "--layout",
        type=click.Choice(["actionformer", "ms-tcn"]),
        default="actionformer",
        help="actionformer: (T, D), windows begin every stride frames. ms-tcn: (D, T), windows "
        "have their middles every stride frames, from the first frame to the last.",
    ),
    click.option("--joined", is_flag=True, help="One array for a video, the streams side by side."),
)
output_options = console.section(
    "Output",
    click.option(
        "--out",
        type=OUT_FOLDER,
        required=True,
        help="Folder of the arrays: OUT/STREAM/NAME.npy, with --joined OUT/NAME.npy; beside each "
        "a .json file that says how it was made.",
    ),
)


@click.command(
    cls=console.Command,
    common=(
        "--run", "--weights", "--stride", "--window", "--layout", "--joined", "--out", "--device",
        "--json",
    ),
    example="twostream features films --run runs/ucf101-split1/spatial-resnet18 \\\n"
    "    --run runs/ucf101-split1/motion-resnet18 --stride 8 --out features",
)  # fmt: skip
@click.argument("paths", nargs=-1, required=True, metavar="VIDEO...")
@network_options
@grid_options
@extraction_options
@output_options
@shared_options.views_per_forward
@console.section(
    "Speed",
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        help="Videos at once, each in a process of its own with its own copy of the networks.  "
        "[default: one after the other in this process; with --engine dask one per core]",
    ),
)
@engine_options
@shared_options.compute
@console.trust_option
@console.quiet_option
@console.json_option
def features(
    paths: tuple[str, ...],
    run_folders: tuple[Path, ...],
    weights: tuple[str, ...],
    checkpoint: str,
    joined: bool,
    jobs: int | None,
    timeout: float,
    engine: str,
    scheduler: str | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write what the networks see in each VIDEO before they classify, every few frames.

    For detectors and segmenters that learn from features: ActionFormer, MS-TCN and their kin. Run
    it again to write what is missing; run it in several shells, and they share the videos. Exit
    code 1: some videos could not be read; they are listed.
    """
    from flow_extract.extraction.executor import available_cores
    from twostream.models.checkpoint import read_spec
    from twostream.prediction.features import FeatureOptions, Video, feature_lines, write_features
    from twostream.prediction.networks import Extraction
    from twostream.prediction.predict import find_inputs

    run_jobs = find_engine(engine, scheduler, jobs=jobs)
    apart = engine == "dask" or (jobs or 1) > 1
    source = click.get_current_context().get_parameter_source("timeout")
    if source is click.core.ParameterSource.COMMANDLINE and not apart:
        raise click.UsageError(
            "--timeout has no effect on videos in this process: give --jobs 2 or more, or "
            "--engine dask"
        )
    folder = TemporaryDirectory(prefix="twostream-features-")
    work_dir = Path(click.get_current_context().with_resource(folder))
    files, unusable = find_inputs(paths, work_dir=work_dir)  # before a checkpoint is fetched
    networks: list[tuple[str, Path | ExternalNetwork]] = [
        (read_spec(run / checkpoint, trust_plugins=console.trusts_plugins()).stream, run)
        for run in run_folders
    ]
    networks += [
        (network.spec.stream, network)
        for network in shared_options.open_networks(weights, None, quiet=quiet or as_json)
    ]
    runs = shared_options.by_stream(networks)
    if not runs:
        raise InputError(
            "no network is given: name run folders by --run, or published networks by --weights"
        )
    if joined and len(runs) < 2:
        raise InputError("--joined puts the features of several streams side by side: give two")
    runtime = shared_options.read_runtime(options, bar=partial(console.progress, quiet=quiet))
    overrides = {key: options.pop(key) for key in ("method", "method_option", "short_side")}
    settings = FeatureOptions(
        runs=runs,
        checkpoint=checkpoint,
        joined=joined,
        extraction=Extraction(**overrides),
        trust_plugins=console.trusts_plugins(),
        **options,
    )
    named = score_names(paths, files)
    result = write_features(
        [Video(name, *video) for name, video in named.items()],
        settings,
        runtime,
        tell=console.tell,
        engine=run_jobs if apart else None,
        jobs=jobs or (available_cores() if engine == "dask" else 1),
        timeout=timeout,
    )
    result["failed"] = unusable | result["failed"]
    console.print_json(result) if as_json else console.show(*feature_lines(result))
    if result["failed"]:
        click.get_current_context().exit(1)
