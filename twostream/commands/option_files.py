"""Files that fill in the options of a command: recipes, and the config.toml of a run."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from twostream_base.errors import InputError
from twostream_base.files import read_text

RECIPES = Path(__file__).parents[1] / "training" / "recipes"
STREAMS = ("spatial", "motion", "difference")


class Recipe(click.ParamType):
    """The name of a recipe that comes along, or a file; the value is a path."""

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
    """The recipes that come along, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.toml"))}


def take_defaults(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Callback of an eager option: the file's keys become defaults; a later file wins.

    Raises:
        InputError: not TOML, or a key that is none of the command's options.
    """
    if path is None:
        return
    ctx.default_map = {**(ctx.default_map or {}), **read_defaults(path, ctx.command)}
    take_stream(ctx, param, ctx.params.get("stream"))


def take_stream(ctx: click.Context, param: click.Parameter, stream: str | None) -> str | None:
    """Callback of the eager --stream: the table of that stream joins the defaults."""
    own = (ctx.default_map or {}).get(stream) if stream else None
    if own:
        ctx.default_map = {**(ctx.default_map or {}), **own}
    return stream


def show_recipe(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Callback of an eager option: print a recipe, to copy it, and end."""
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
