"""Files that give options their defaults: twostream.toml, recipes, and the config.toml of a run.

In the project file `twostream.toml`, keys at the top are options of any command that has them; a
table such as `[train]` holds further defaults of that one command. Paths in any of these files are
relative to the file.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from twostream.commands import console
from twostream.commands.option_types import OPTION_FILES, OUT_FILE, RUN_CONFIG
from twostream_base.errors import InputError
from twostream_base.files import read_text, reading

PROJECT_FILE = "twostream.toml"
PATH_KEYS = ("videos", "annotations", "store", "runs")
SHARED_KEYS = ("dataset", *PATH_KEYS, "split", "allow-missing")
PACKAGE = Path(__file__).parents[1]
RECIPES = PACKAGE / "training" / "recipes"
STREAMS = ("spatial", "motion", "difference", "joint")
# What no file may set, as it runs code (a Dask scheduler can), or deletes. A file that is to be
# written (`OUT_FILE`) is no file's business either: it could be one that a shell reads.
TYPED_ONLY = ("trust-plugins", "scheduler", "restart", "repair", "prune")


def find_project(start: Path, *, tell: Callable[[str], None]) -> Path | None:
    """The nearest `twostream.toml`, in `start` or above it.

    The search ends at a folder, and at a file, that others than the user can change.

    Args:
        tell: gets a line about a file that is left alone for that reason.
    """
    for folder in (start, *start.parents):
        path = folder / PROJECT_FILE
        try:
            is_there = path.is_file()
            reason = _open_to_others(folder) or (_open_to_others(path) if is_there else "")
        except OSError:  # a folder that may not be looked into
            return None
        if reason:
            if is_there:
                tell(f"{path} is not used: {reason}; if you trust it, give --project {path}")
            return None
        if is_there:
            return path
    return None


def _open_to_others(path: Path) -> str:
    """Why someone else could have put what is there, in words; empty where only the user can."""
    if not hasattr(os, "geteuid"):  # Windows has other means
        return ""
    status = path.stat()
    if status.st_uid != os.geteuid():
        return f"{path} belongs to another user"
    return f"everybody can write to {path}" if status.st_mode & stat.S_IWOTH else ""


def _read_toml(path: Path) -> dict[str, Any]:
    with reading(path, "TOML"):
        return tomllib.loads(read_text(path))


def _check_may_set(path: Path, key: str, parameter: click.Parameter) -> None:
    if key in TYPED_ONLY or parameter.type is OUT_FILE:
        raise InputError(
            f"{path}: {key!r} is not for a file to set, as it runs code, deletes, or names a file "
            f"to write; give {parameter.opts[0]} on the command line"
        )


def read_project(path: Path) -> dict[str, Any]:
    """Read a project file; its paths come back absolute.

    Raises:
        InputError: not TOML, or a key at the top that no command knows.
    """
    settings = _read_toml(path)
    for key, value in settings.items():
        if not isinstance(value, dict) and key not in SHARED_KEYS:
            raise InputError(f"{path}: unknown key {key!r}; allowed: {', '.join(SHARED_KEYS)}")
    for key in PATH_KEYS:
        if key in settings:
            if not isinstance(settings[key], str):
                raise InputError(f"{path}: {key} = {settings[key]!r}: expected a path in quotes")
            settings[key] = _path_from(path, settings[key])
    return settings


def _path_from(file: Path, value: str) -> str:
    """The path that `value` in a file means. By its text: `..` does not follow links."""
    return os.path.normpath(file.parent.absolute() / value)


NAME_OR_FILE = ("weights", "class_weights")  # options of `train` that take either


def _value_from(file: Path, parameter: click.Parameter, value: Any) -> Any:
    """The value of an option that a file gives; a path is relative to the file.

    In a recipe of this package it is relative to the folder that one works in, as if typed.
    """
    if isinstance(value, list):
        return [_value_from(file, parameter, item) for item in value]
    if file.is_relative_to(PACKAGE) or not isinstance(value, str) or not value:
        return value
    is_path = isinstance(parameter.type, click.Path)
    if parameter.name in NAME_OR_FILE:
        is_path = Path(_path_from(file, value)).exists()
    return _path_from(file, value) if is_path else value


def option_defaults(
    command: click.Command, name: str, settings: dict[str, Any], *, path: Path
) -> dict[str, Any]:
    """The part of the project file `path` that concerns a command, as click's `default_map` of it.

    Raises:
        InputError: the command's table has a key that is not one of its options, or one that must
            be typed.
    """
    shared = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    table = settings.get(name, {})
    if not isinstance(table, dict):
        raise InputError(f"{path}: {name} = {table!r}: expected a table, [{name}]")
    if isinstance(command, click.Group):
        context = click.Context(command)
        return {
            name: option_defaults(child, name, shared | table, path=path)
            for name in command.list_commands(context)
            if (child := command.get_command(context, name))
        }
    parameters = {
        option.lstrip("-"): parameter for parameter in command.params for option in parameter.opts
    }
    unknown = [key for key in table if key not in parameters]
    if unknown:
        raise InputError(
            f"{path}: [{name}] has no option {unknown[0]!r}; "
            f"allowed: {', '.join(sorted(parameters))}"
        )
    for key in table:
        _check_may_set(path, key, parameters[key])
    defaults = {key: value for key, value in (shared | table).items() if key in parameters}
    return {
        parameters[key].name or "": _value_from(path, parameters[key], value)
        for key, value in defaults.items()
    }


class Recipe(click.ParamType):
    """The name of a recipe of this package, or a file; the value is a path."""

    name = "recipe"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Their names are too many for `--help`: the help of the option has them."""
        return "NAME|FILE"

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

    But a recipe that a file names is what stands behind that file's own keys.

    Raises:
        InputError: not TOML, or a key that is not an option of the command.
    """
    if path is None:
        return
    defaults = read_defaults(path, ctx.command)
    known, files = dict(ctx.default_map or {}), ctx.meta.get(OPTION_FILES, {})
    if ctx.get_parameter_source(param.name or "") is ParameterSource.DEFAULT_MAP:
        # A file named this one: what stands there beside the name wins.
        beside = files if param.name in files else known
        defaults = {key: value for key, value in defaults.items() if key not in beside}
    ctx.default_map = known | defaults
    ctx.meta[OPTION_FILES] = files | dict.fromkeys(defaults, path)
    take_stream(ctx, param, ctx.params.get("stream"))


OF_THE_LISTS = ("dataset", "annotations", "split", "store", "allow-missing")


def take_run(ctx: click.Context, param: click.Parameter, run: Path | None) -> Path | None:
    """Callback of an eager RUN: what lists and store it was trained on become defaults.

    The project comes first; where it is of another data set, or of none of the run's, only what it
    leaves open is taken. A folder that is not there any more is not taken.

    Raises:
        InputError: its configuration is not TOML.
    """
    if run is None or not (path := run / "config.toml").is_file():
        return run
    known = dict(ctx.default_map or {})
    settings = _read_toml(path)
    if known.get("dataset", settings.get("dataset")) != settings.get("dataset"):
        return run
    # What is missing of the project's videos must be said anew.
    keys = ("split",) if "annotations" in known else OF_THE_LISTS
    settings = {key: settings[key] for key in keys if key in settings}
    parameters = {option.lstrip("-"): item for item in ctx.command.params for option in item.opts}
    defaults = {}
    for key, value in settings.items():
        name = parameters[key].name or ""
        value = _value_from(path, parameters[key], value)
        is_path = isinstance(parameters[key].type, click.Path) and isinstance(value, str)
        is_gone = is_path and not os.path.exists(value)
        is_default = value is False or value == parameters[key].default
        if name not in known and not is_gone and not is_default:
            defaults[name] = value
    ctx.default_map = known | defaults
    ctx.meta[OPTION_FILES] = ctx.meta.get(OPTION_FILES, {}) | dict.fromkeys(defaults, path)
    ctx.meta[RUN_CONFIG] = path
    return run


def take_stream(ctx: click.Context, param: click.Parameter, stream: str | None) -> str | None:
    """Callback of the eager --stream: the table of that stream joins the defaults."""
    table = (ctx.default_map or {}).get(stream) if stream else None
    if stream and table:
        ctx.default_map = {**(ctx.default_map or {}), **table}
        files = ctx.meta.get(OPTION_FILES, {})
        ctx.meta[OPTION_FILES] = files | dict.fromkeys(table, files.get(stream))
    return stream


def show_recipe(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Callback of an eager option: print a recipe and exit."""
    if path is not None:
        console.show(*read_text(path).splitlines())
        ctx.exit()


def read_defaults(path: Path, command: click.Command) -> dict[str, Any]:
    """Parameter name -> value of the file's keys; those of one stream stay in its own table."""
    settings = _read_toml(path)
    tables = {stream: settings.pop(stream) for stream in STREAMS if stream in settings}
    if strange := [stream for stream, table in tables.items() if not isinstance(table, dict)]:
        raise InputError(f"{path}: {strange[0]} is for a table, [{strange[0]}], of that stream")
    return _named(settings, command, path=path, where=f"{path}") | {
        stream: _named(table, command, path=path, where=f"{path}, [{stream}]")
        for stream, table in tables.items()
    }


def _named(
    settings: dict[str, Any], command: click.Command, *, path: Path, where: str
) -> dict[str, Any]:
    names: dict[str, click.Parameter] = {}
    for parameter in command.params:
        for option in (*parameter.opts, parameter.name or ""):
            names[option.lstrip("-").replace("_", "-")] = parameter
    unknown = [key for key in settings if key not in names]
    if unknown:
        raise InputError(
            f"{where}: `{command.name}` has no option {unknown[0]!r}; "
            f"allowed: {', '.join(sorted(names))}"
        )
    for key in settings:
        _check_may_set(path, key, names[key])
    # An empty text, in a run's config.toml, stands for an option that was not given; of one that
    # takes two values, an empty list does.
    return {
        names[key].name or "": _value_from(path, names[key], value)
        for key, value in settings.items()
        if value != "" and not (value == [] and names[key].nargs > 1)
    }
