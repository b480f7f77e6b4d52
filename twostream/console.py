"""What all commands share on the screen: progress, results for programs, project options."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import click

Item = TypeVar("Item")
Command = TypeVar("Command", bound=Callable[..., Any])


def progress(
    items: Iterable[Item], *, total: int, label: str, unit: str, quiet: bool = False
) -> Iterator[Item]:
    """Pass `items` through a bar with rate and time left, on a terminal and unless `quiet`.

    Into a pipe or a log file nothing is drawn: the commands print plain lines of their own.
    """
    from tqdm import tqdm

    hidden = quiet or not sys.stderr.isatty()
    yield from tqdm(items, total=total, desc=label, unit=f" {unit}", disable=hidden, leave=False)


def print_json(result: dict[str, Any]) -> None:
    """Print a result for a program: one JSON object on standard output."""
    click.echo(json.dumps(result, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """Tell the user something that is not the result: on standard error, so pipes stay clean."""
    click.echo(text, err=True)


def quiet_option(command: Command) -> Command:
    """Add `--quiet`."""
    return click.option("--quiet", is_flag=True, help="No progress bars.")(command)


def json_option(command: Command) -> Command:
    """Add `--json` (parameter `as_json`)."""
    help_text = "Print the result as one JSON object."
    return click.option("--json", "as_json", is_flag=True, help=help_text)(command)


class ProjectOption(click.Option):
    """An option that the project file usually fills in; its absence is explained as such."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Say that `twostream init` would have provided the missing value."""
        try:
            return super().process_value(ctx, value)
        except click.MissingParameter:
            raise click.UsageError(
                f"{self.opts[0]} is not known: no twostream.toml in this folder or above it sets "
                f"it. Give {self.opts[0]}, or write the project file with `twostream init`."
            ) from None
