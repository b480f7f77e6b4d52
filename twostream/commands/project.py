"""The project file `twostream.toml`: it fills in defaults of the commands, nothing else.

Keys at the top are options of any command that has them; a table such as `[train]` holds further
defaults of that one command. Paths are relative to the file.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from twostream_base.errors import InputError
from twostream_base.files import read_text

FILE_NAME = "twostream.toml"
PATH_KEYS = ("videos", "annotations", "store", "runs")
SHARED_KEYS = ("dataset", *PATH_KEYS, "split", "allow-missing")


def find_project(start: Path) -> Path | None:
    """The nearest `twostream.toml`, in `start` or above it."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    return None


def read_project(path: Path) -> dict[str, Any]:
    """Read a project file; its paths come back absolute.

    Raises:
        InputError: not TOML, or a key at the top that no command knows.
    """
    try:
        settings = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not a valid TOML file: {error}") from None
    for key, value in settings.items():
        if not isinstance(value, dict) and key not in SHARED_KEYS:
            raise InputError(f"{path}: unknown key {key!r}; allowed: {', '.join(SHARED_KEYS)}")
    for key in PATH_KEYS:
        if key in settings:
            settings[key] = str((path.parent / settings[key]).resolve())
    return settings


def option_defaults(command: click.Command, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The part of a project file that concerns one command, as click's `default_map` of it.

    Raises:
        InputError: the command's own table has a key that is none of its options.
    """
    shared = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    own = settings.get(name, {})
    if isinstance(command, click.Group):
        context = click.Context(command)
        return {
            name: option_defaults(child, name, shared | own)
            for name in command.list_commands(context)
            if (child := command.get_command(context, name))
        }
    parameters = {
        option.lstrip("-"): parameter.name
        for parameter in command.params
        for option in parameter.opts
    }
    unknown = [key for key in own if key not in parameters]
    if unknown:
        raise InputError(
            f"{FILE_NAME}: [{name}] has no option {unknown[0]!r}; "
            f"allowed: {', '.join(sorted(parameters))}"
        )
    return {parameters[key]: value for key, value in (shared | own).items() if key in parameters}
