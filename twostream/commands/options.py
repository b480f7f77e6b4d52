"""Options that several commands share, in the same words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from twostream.console import ProjectOption
from twostream.data.splits import DATASETS
from twostream.errors import InputError
from twostream.plugins import PlugIn

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def option_group(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """One decorator that adds several options, shown by `--help` in the order given."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


data_options = option_group(
    click.option(
        "--dataset",
        cls=ProjectOption,
        required=True,
        type=PlugIn(DATASETS),
        help="Whose lists they are.",
    ),
    click.option(
        "--annotations",
        cls=ProjectOption,
        required=True,
        type=FOLDER,
        help="Folder of the data set's lists.",
    ),
    click.option("--split", type=int, default=1, show_default=True, help="Official split."),
    click.option(
        "--store",
        cls=ProjectOption,
        required=True,
        type=FOLDER,
        help="Folder of the frames and flow.",
    ),
    click.option(
        "--allow-missing",
        is_flag=True,
        help="Go on without listed videos that the store lacks; results count them.",
    ),
    click.option("--use-damaged", is_flag=True, help="Take damaged videos too."),
)


def _cores_of_a_process() -> int:
    """Cores of this machine for each of the processes that torchrun started on it, if it did."""
    return max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


compute_options = option_group(
    click.option(
        "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16"]),
        default="auto",
        show_default=True,
        help="bf16 is faster where the device computes it in hardware; auto takes it there.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        default=_cores_of_a_process(),
        show_default="cores",
        help="Loader threads.",
    ),
)

snippets_at_once_option = click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Snippets that enter the network together.",
)

compile_option = click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile the network for evaluation: a slow start, then faster; for long scoring.",
)


def find_device(name: str) -> str:
    """Resolve `auto` to the best device here; refuse one that torch does not have."""
    import torch

    if name == "auto":
        mps = torch.backends.mps.is_available()
        return "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"--device {name} cannot be used: {reason}. Try --device cpu") from error
    return name
