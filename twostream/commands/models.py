"""`twostream models`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from twostream.console import json_option, print_json, progress, quiet_option
from twostream.errors import InputError
from twostream.models import MODELS


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--stream",
    type=click.Choice(["spatial", "motion", "difference"]),
    default="spatial",
    show_default=True,
    help="What the networks look at.",
)
@click.option(
    "--classes",
    type=click.IntRange(1),
    default=400,
    show_default=True,
    help="Of the classifier.",
)
@click.option(
    "--input-size",
    type=click.IntRange(32),
    default=224,
    show_default=True,
    help="Side of the input, pixels.",
)
@quiet_option
@json_option
def models(
    names: tuple[str, ...], stream: str, classes: int, input_size: int, quiet: bool, as_json: bool
) -> None:
    """List the networks of `train --model`: snippet, parameters, multiply-adds of one view.

    NAMES are parts of names, or your own module:function; without them all are listed.

    \b
    twostream models i3d tsm
    """
    chosen = chosen_models(names)
    bar = partial(progress, label="models", unit="network", quiet=quiet)
    size = partial(_row, stream=stream, num_classes=classes, side=input_size)
    rows = [size(name) for name in bar(chosen, total=len(chosen))]
    if as_json:
        print_json({"stream": stream, "classes": classes, "input_size": input_size, "models": rows})
    else:
        click.echo("\n".join(table_lines(rows)))


def chosen_models(names: tuple[str, ...]) -> list[str]:
    """The networks of MODELS that contain one of `names`, and those of `module:function`.

    Raises:
        InputError: a name that is part of none.
    """
    for name in names:
        if ":" not in name and not any(name in model for model in MODELS):
            raise InputError(
                f"no network is called {name!r}, or like it; `twostream models` lists all"
            )
    own = [name for name in names if ":" in name]
    return own + [model for model in MODELS if not names or any(name in model for name in names)]


def table_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as a table, numbers in millions (M) and thousands of millions (G)."""
    width = max(len(row["model"]) for row in rows)
    lines = [f"{'':{width}}  {'snippet':>9}  {'parameters':>11}  {'multiply-adds':>13}"]
    for row in rows:
        parameters, multiply_adds = row["parameters"] / 1e6, row["multiply_adds"] / 1e9
        lines.append(
            f"{row['model']:{width}}  {_snippet(row):>9}  {parameters:>9.2f} M  "
            f"{multiply_adds:>11.2f} G"
        )
    return lines


def _snippet(row: dict[str, Any]) -> str:
    return f"{row['frames']} spread" if row["step"] == 0 else f"{row['frames']} x {row['step']}"


def _row(model: str, **options: Any) -> dict[str, Any]:
    from twostream.models.size import network_size

    return {"model": model, **network_size(model, **options)._asdict()}
