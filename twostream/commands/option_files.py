"""Files that give options their defaults: twostream.toml, recipes, and the config.toml of a run.

In the project file `twostream.toml`, keys at the top are options of any command that has them; a
table such as `[train]` holds further defaults of that one command. Paths are relative to the file.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from twostream_base.errors import InputError
from twostream_base.files import read_text

PROJECT_FILE = "twostream.toml"
PATH_KEYS = ("videos", "annotations", "store", "runs")
SHARED_KEYS = ("dataset", *PATH_KEYS, "split", "allow-missing")
RECIPES = Path(__file__).parents[1] / "training" / "recipes"
STREAMS = ("spatial", "motion", "difference")


def find_project(start: Path) -> Path | None:
    """The nearest `twostream.toml`, in `start` or above it."""
    for folder in (start, *start.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder / PROJECT_FILE
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
        InputError: the command's table has a key that is not one of its options.
    """
    shared = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    table = settings.get(name, {})
    if isinstance(command, click.Group):
        context = click.Context(command)
        return {
            name: option_defaults(child, name, shared | table)
            for name in command.list_commands(context)
            if (child := command.get_command(context, name))
        }
    parameters = {
        option.lstrip("-"): parameter.name
        for parameter in command.params
        for option in parameter.opts
    }
    unknown = [key for key in table if key not in parameters]
    if unknown:
        raise InputError(
            f"{PROJECT_FILE}: [{name}] has no option {unknown[0]!r}; "
            f"allowed: {', '.join(sorted(parameters))}"
        )
    return {parameters[key]: value for key, value in (shared | table).items() if key in parameters}


class Recipe(click.ParamType):
    """The name of a recipe of this package, or a file; the value is a path."""

    name = "recipe"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show the names in `--help`."""
        return f"[{'|'.join([*recipes(), 'FILE'])}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Look among the recipes first: a file of such a name is given as ./name."""
        path = recipes().get(str(value), Path(value))
        if not path.is_file():
            self.fail(f"{value!r} is neither one of {', '.join(recipes())} nor a file", param, ctx)
        return path


def recipes() -> dict[str, Path]:
    """The recipes of this package, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.toml"))}


def take_defaults(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Callback of an eager option: the file's keys become defaults; a later file wins.

    Raises:
        InputError: not TOML, or a key that is not an option of the command.
    """
    if path is None:
        return
    ctx.default_map = {**(ctx.default_map or {}), **read_defaults(path, ctx.command)}
    take_stream(ctx, param, ctx.params.get("stream"))


def take_stream(ctx: click.Context, param: click.Parameter, stream: str | None) -> str | None:
    """Callback of the eager --stream: the table of that stream joins the defaults."""
    table = (ctx.default_map or {}).get(stream) if stream else None
    if table:
        ctx.default_map = {**(ctx.default_map or {}), **table}
    return stream


def show_recipe(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Callback of an eager option: print a recipe and exit."""
    if path is not None:
        click.echo(read_text(path), nl=False)
        ctx.exit()


def read_defaults(path: Path, command: click.Command) -> dict[str, Any]:
    """Parameter name -> value of the file's keys; those of one stream stay in its own table."""
    try:
        settings = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not a valid TOML file: {error}") from None
    tables = {stream: settings.pop(stream) for stream in STREAMS if stream in settings}
    return {
        **_named(settings, command, where=f"{path}"),
        **{
            stream: _named(table, command, where=f"{path}, [{stream}]")
            for stream, table in tables.items()
        },
    }


def _named(settings: dict[str, Any], command: click.Command, *, where: str) -> dict[str, Any]:
    names = {}
    for parameter in command.params:
        for option in (*parameter.opts, parameter.name or ""):
            names[option.lstrip("-").replace("_", "-")] = parameter.name or ""
    unknown = [key for key in settings if key not in names]
    if unknown:
        raise InputError(
            f"{where}: `{command.name}` has no option {unknown[0]!r}; "
            f"allowed: {', '.join(sorted(names))}"
        )
    # An empty text, in a run's config.toml, stands for an option that was not given.
    return {names[key]: value for key, value in settings.items() if value != ""}
