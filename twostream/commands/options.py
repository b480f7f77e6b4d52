"""Options that several commands share, in the same words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from twostream.commands.console import ProjectOption, section
from twostream.commands.plugin_type import PlugIn
from twostream.data.splits import DATASETS
from twostream_base.errors import InputError
from twostream_base.plugins import any_of

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

data_options = section(
    "Data",
    click.option(
        "--dataset",
        cls=ProjectOption,
        required=True,
        type=PlugIn(DATASETS),
        help=f"Data set whose split lists are read: {any_of(DATASETS)}.",
    ),
    click.option(
        "--annotations",
        cls=ProjectOption,
        required=True,
        type=FOLDER,
        help="Folder of the split lists.",
    ),
    click.option(
        "--split", type=int, default=1, show_default=True, help="Number of the official split."
    ),
    click.option(
        "--store",
        cls=ProjectOption,
        required=True,
        type=FOLDER,
        help="Folder of the extracted frames and flow.",
    ),
    click.option(
        "--allow-missing",
        is_flag=True,
        help="Go on when listed videos are not in the store; results say how many.",
    ),
    click.option(
        "--use-damaged", is_flag=True, help="Also use videos that could be decoded only in part."
    ),
)


def _cores_of_a_process() -> int:
    """Cores of this machine for each of the processes that torchrun started on it, if it did."""
    return max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


compute_options = section(
    "Speed",
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="Where networks run: auto, cpu, cuda, cuda:1, mps.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16"]),
        default="auto",
        show_default=True,
        help="Number format of the network; auto is bf16 where the device computes it in "
        "hardware, else fp32.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        default=_cores_of_a_process(),
        show_default="cores",
        help="Threads that load and decode videos.",
    ),
)

snippets_at_once_option = section(
    "Speed",
    click.option(
        "--batch-size",
        type=click.IntRange(1),
        default=64,
        show_default=True,
        help="Snippets in one forward pass.",
    ),
)

compile_option = section(
    "Speed",
    click.option(
        "--compile",
        "compiled",
        is_flag=True,
        help="Compile the network for evaluation: starts slowly, then runs faster; for large sets "
        "of videos.",
    ),
)

checkpoint_option = section(
    "Network",
    click.option(
        "--checkpoint",
        type=click.Choice(["best", "last"]),
        default="best",
        show_default=True,
        help="Weights of the best epoch of the run, or of the last.",
    ),
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


# Values of options that click has no type for.
class CountOrAuto(click.ParamType):
    """A whole number from 1, or the word `auto`."""

    name = "count"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show both in `--help`."""
        return "[N|auto]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Accept 4, "4" and "auto"."""
        text = str(value)
        if text == "auto":
            return text
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            self.fail(f"{text!r} is neither a whole number from 1 nor auto", param, ctx)
        return int(text)


class FrameSize(click.ParamType):
    """Height and width: `256x320` on the command line, [256, 320] in a TOML file."""

    name = "HEIGHTxWIDTH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Accept text or a list; nothing leaves frames as they are."""
        parts = value.split("x") if isinstance(value, str) and value else value or ()
        try:
            size = tuple(int(part) for part in parts)
        except (TypeError, ValueError):
            size = (0,)
        if size and (len(size) != 2 or min(size) < 1):
            self.fail(f"{value!r} is no height and width, such as 256x320", param, ctx)
        return size


class Epochs(click.ParamType):
    """Epochs in rising order: `15,25` on the command line, [15, 25] in a TOML file."""

    name = "epochs"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Accept text or a list; the value is a tuple."""
        parts: Sequence[Any] = value.split(",") if isinstance(value, str) and value else value or ()
        try:
            epochs = tuple(int(part) for part in parts)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not a list of epochs, such as 15,25", param, ctx)
        if list(epochs) != sorted(set(epochs)) or any(epoch < 1 for epoch in epochs):
            self.fail(f"{value!r}: epochs must rise, from 1", param, ctx)
        return epochs
