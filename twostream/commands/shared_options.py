"""Options that several commands share, in the same words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twostream.commands import console
from twostream.commands.option_files import take_defaults
from twostream.commands.option_types import (
    FILE,
    FOLDER,
    OPTION_FILES,
    LocalPath,
    PlugIn,
    any_of,
    plug_in_name,
)
from twostream.data.protocols import ALIASES, KINDS, OF_THE_NETWORK, find_protocol
from twostream.data.splits import DATASETS
from twostream_base.errors import InputError

if TYPE_CHECKING:
    from twostream.compute.device import Bar, Runtime
    from twostream.models.external_networks import ExternalNetwork


class StoreFolder(LocalPath):
    """A folder that is there; for `train --dry-run` it need not be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Accept a path."""
        if ctx and ctx.params.get("dry_run") and not os.path.lexists(value):
            return Path(value)
        return super().convert(value, param, ctx)


use_damaged = click.option(
    "--use-damaged", is_flag=True, help="Also use videos that could be decoded only in part."
)

data = console.section(
    "Data",
    click.option(
        "--dataset",
        cls=console.ProjectOption,
        required=True,
        type=PlugIn(DATASETS),
        help=f"Data set whose split lists are read: {any_of(DATASETS)}.",
    ),
    click.option(
        "--annotations",
        cls=console.ProjectOption,
        required=True,
        type=FOLDER,
        help="Folder of the split lists.",
    ),
    click.option("--split", type=int, default=1, help="Number of the official split."),
    click.option(
        "--store",
        cls=console.ProjectOption,
        required=True,
        type=StoreFolder(exists=True, file_okay=False, path_type=Path),
        help="Folder of the extracted frames and flow.",
    ),
    click.option(
        "--allow-missing",
        is_flag=True,
        help="Go on when listed videos are not in the store; results say how many.",
    ),
    use_damaged,
)

on_training_videos = console.section(
    "Data",
    click.option(
        "--on-training-videos",
        is_flag=True,
        help="Go on where the network has seen test videos in training; every result says how "
        "many.",
    ),
)


def cores_of_a_process() -> int:
    """Cores of this machine for each of the processes that torchrun started on it, if it did."""
    return max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


compute = console.section(
    "Speed",
    click.option(
        "--device",
        default="auto",
        metavar="NAME",
        help="Where networks run: auto, cpu, cuda, cuda:1, mps.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "tf32", "bf16", "fp16"]),
        default="auto",
        help="Number format of the network; auto is bf16 where the device computes it in "
        "hardware, fp16 on GPUs that have only that, else fp32; tf32 is a GPU's quick fp32.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        default=cores_of_a_process(),
        show_default="cores",
        help="Threads, or processes for a GPU, that load and decode videos.",
    ),
)

views_per_forward = console.section(
    "Speed",
    click.option(
        "--batch-size", type=click.IntRange(1), default=64, help="Snippets in one forward pass."
    ),
)

compile_network = console.section(
    "Speed",
    click.option(
        "--compile",
        "compiled",
        is_flag=True,
        help="Compile the network: starts slowly, then runs faster; for large sets of videos.",
    ),
)

checkpoint = console.section(
    "Network",
    click.option(
        "--checkpoint",
        type=click.Choice(["best", "last"]),
        default="best",
        help="Weights of the best epoch of the run, or of the last.",
    ),
)


# For the help of every option that takes a protocol.
PROTOCOL_TEXTS = (
    f"{', '.join(ALIASES)}; others by kind and number, such as segments:8, clips:5, dense:10x3 or "
    "twice:3, with crops=, scale=, rule= and segment= behind commas; efficient and accurate, as "
    "tables of the network's kind name them; or module:function"
)


class ProtocolName(click.ParamType):
    """A test protocol: a text as `find_protocol` takes it, `efficient`, `accurate`, or a plug-in.

    The value is the name that results have: `clips:19` becomes `clips19`.
    """

    name = "protocol"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show the form in `--help`."""
        return "NAME|KIND:COUNT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Accept what there is; the rest is a usage error."""
        text = str(value)
        if text in OF_THE_NETWORK:
            return text
        if ":" in text and text.partition(":")[0] not in KINDS:
            return plug_in_name(text, param, ctx)
        try:
            return find_protocol(text).name
        except InputError as error:
            self.fail(str(error))


weights = console.section(
    "Network",
    click.option(
        "--weights",
        metavar="FILE|NAME",
        help="Instead of RUN: a checkpoint of another tool, or one of `twostream weights`.",
    ),
)
class_names = click.option(
    "--classes",
    type=FILE,
    help="Names of the classes of --weights, a line each in the order of the network.  [default: "
    "Kinetics-400 or ImageNet by their number, else numbers]",
)

protocol = click.option(
    "--protocol", type=ProtocolName(), default="clips19", help=f"Test protocol: {PROTOCOL_TEXTS}."
)

protocol_or_default = click.option(
    "--protocol",
    type=ProtocolName(),
    help=f"Test protocol: {PROTOCOL_TEXTS}.  [default: clips19; efficient with --window, "
    "--live or a published network]",
)

# Of a training: where its options come from, and how it begins.
config = click.option(
    "--config",
    type=FILE,
    is_eager=True,
    expose_value=False,
    callback=take_defaults,
    help="Take defaults from a TOML file, such as the config.toml of an earlier run.",
)
seed = click.option("--seed", type=click.IntRange(0), default=0, help="Seed of all random numbers.")
restart = click.option(
    "--restart", is_flag=True, help="Delete what is in the run folder and start from scratch."
)


def run_or_weights(
    run: Path | None, weights: str | None, classes: Path | Sequence[str] | None, *, quiet: bool
) -> Path | ExternalNetwork:
    """The run folder, or the network of --weights: one of the two."""
    if (run is None) == (weights is None):
        raise InputError("give the folder of a RUN, or --weights FILE|NAME, and not both")
    networks = open_networks([weights] if weights else [], classes, quiet=quiet)
    return run or networks[0]


def open_networks(
    weights: Sequence[str], classes: Path | Sequence[str] | None, *, quiet: bool = False
) -> list[ExternalNetwork]:
    """The networks that --weights names; says what they are.

    Args:
        classes: the names of their classes, or a file of them.
    """
    if classes and not weights:
        raise InputError("--classes names the classes of --weights; the run folders know theirs")
    if not weights:
        return []
    from twostream.models.external_networks import open_weights, read_class_names

    names = read_class_names(classes) if isinstance(classes, Path) else classes
    networks = []
    for text in weights:
        bar = partial(console.progress, quiet=quiet)
        network = open_weights(text, class_names=names, bar=bar)
        networks.append(network)
        takes_names = "classes" in click.get_current_context().params
        hint = " (--classes FILE names them)" if network.is_numbered and takes_names else ""
        if not quiet:
            console.tell(f"{network}: {network.text}{hint}")
    return networks


def by_stream(
    networks: Iterable[tuple[str, Path | ExternalNetwork]],
) -> dict[str, Path | ExternalNetwork]:
    """Networks by their streams.

    Raises:
        InputError: two are of one stream.
    """
    of_streams: dict[str, Path | ExternalNetwork] = {}
    for stream, network in networks:
        if stream in of_streams:
            raise InputError(
                f"two networks of the {stream} stream are given, {of_streams[stream]} and "
                f"{network}; give one of each stream"
            )
        of_streams[stream] = network
    return of_streams


def find_device(name: str) -> str:
    """Resolve `auto` to the best device here; refuse one that torch does not have."""
    import torch

    if name == "auto":
        mps = torch.backends.mps.is_available()
        return "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
        if device.type != "cuda":
            torch.empty(0, device=device)
        # A tensor would take a few hundred MB of GPU 0 for each process of torchrun.
        elif not torch.cuda.is_available():
            raise RuntimeError("torch finds no CUDA GPU here")
        elif (device.index or 0) >= torch.cuda.device_count():
            raise RuntimeError(f"torch finds {torch.cuda.device_count()} CUDA GPUs here")
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"--device {name} cannot be used: {reason}. Try --device cpu") from error
    return name


def take_store(ctx: click.Context, param: click.Parameter, store: Path | None) -> Path | None:
    """Callback of --store: the project's is not of a --videos that is not the project's too."""

    def is_of_project(key: str) -> bool:
        by_file = ctx.get_parameter_source(key) is click.core.ParameterSource.DEFAULT_MAP
        return by_file and key not in ctx.meta.get(OPTION_FILES, {})

    if is_of_project("store") and not is_of_project("videos"):
        ctx.set_parameter_source("store", click.core.ParameterSource.DEFAULT)  # it is not used
        return None
    return store


def read_runtime(options: dict[str, Any], *, bar: Bar) -> Runtime:
    """Take what says how networks are run out of the options, with each `auto` resolved."""
    import torch

    from twostream.compute.device import Runtime, find_precision

    device = torch.device(find_device(options.pop("device")))
    return Runtime(
        device,
        find_precision(options.pop("precision"), device),
        threads=options.pop("threads"),
        views_per_forward=options.pop("batch_size", 1),
        bar=bar,
    )
