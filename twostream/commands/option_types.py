"""Types of option values: files and folders, names of plug-ins, and what click has no type for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import click

from twostream_base.errors import InputError
from twostream_base.files import why_address
from twostream_base.plugins import TrustedName


class LocalPath(click.Path):
    """A file or folder; an address is refused with what to do, not as one that does not exist."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Accept what `click.Path` does."""
        if not isinstance(value, (str, PathLike)):
            self.fail(f"{value!r} is no path; in a file of options it stands in quotes", param, ctx)
        if reason := why_address(value):
            self.fail(f"{str(value)!r}: {reason}", param, ctx)
        return super().convert(value, param, ctx)


FILE = LocalPath(exists=True, dir_okay=False, path_type=Path)
FOLDER = LocalPath(exists=True, file_okay=False, path_type=Path)
FILE_OR_FOLDER = LocalPath(exists=True, path_type=Path)
OUT_FILE = LocalPath(dir_okay=False, path_type=Path)
OUT_FOLDER = LocalPath(file_okay=False, path_type=Path)
OUT_PATH = LocalPath(path_type=Path)
# Keys of `flow_extract.store.codecs.CODECS`, whose module imports numpy.
CODEC_NAMES = ("jpeg", "raw", "lz4")
# More names than these fill neither the left column of `--help` nor an error.
WIDEST_METAVAR = 60
FEW_NAMES = 12
# What a command and its options know of files, in `click.Context.meta`.
TRUSTS_PLUGINS = "twostream.trusts_plugins"  # whether --trust-plugins is given
PROJECT = "twostream.project"  # the project file in use
OPTION_FILES = "twostream.option_files"  # parameter name -> other file that gives its default
RUN_CONFIG = "twostream.run-config"  # the config.toml of the RUN that gave options


def any_of(entries: Mapping[str, Any]) -> str:
    """All names of a dict of plug-ins in words, for the help text of an option that takes one."""
    return f"{', '.join(entries)}, or module:function"


def plug_in_name(
    text: str, param: click.Parameter | None, ctx: click.Context | None
) -> str | TrustedName:
    """Mark a `module:function` that is typed as such, so that `plugins.load` imports it.

    Raises:
        InputError: it comes from a file, and --trust-plugins is not given.
    """
    if ":" not in text or param is None or ctx is None or param.name is None:
        return text
    is_from_file = ctx.get_parameter_source(param.name) is click.core.ParameterSource.DEFAULT_MAP
    if not is_from_file or ctx.meta.get(TRUSTS_PLUGINS):
        return TrustedName(text)
    option = param.opts[0]
    file = ctx.meta.get(OPTION_FILES, {}).get(param.name, ctx.meta.get(PROJECT, "a file"))
    raise InputError(
        f"{file}: {option.lstrip('-')} = {text!r} would run code, which no file may ask for. "
        f"If you trust it, give {option} {text!r} on the command line, or --trust-plugins"
    )


class Stage(click.ParamType):
    """A plug-in and its options in one text, as `dynamic_framing k=12`."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Accept any text; see `plug_in_name`."""
        return plug_in_name(str(value), param, ctx)


class PlugIn(click.ParamType):
    """A name of a dict of plug-ins, or the user's own `module:function`; the value stays a string.

    `twostream_base.plugins.load` makes it a function.

    Args:
        entries: the names that there are.
        all_names: command that lists them, where they are many.
        library: how names begin that a library of ours has, as `timm:`; files may give them too.
    """

    name = "plug-in"

    def __init__(
        self, entries: Mapping[str, Any], *, all_names: str = "", library: str | None = None
    ) -> None:
        self.entries = entries
        self.all_names = all_names
        self.library = library

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show a few names in `--help`, as click.Choice does; of many none."""
        listed = f"[{'|'.join([*self.entries, 'module:function'])}]"
        return listed if len(listed) <= WIDEST_METAVAR else "NAME"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str | None:
        """Name the entries, as click.Choice does."""
        return None if len(self.entries) > FEW_NAMES else f"Choose from: {any_of(self.entries)}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Accept a known name or something with a colon; the rest is a usage error."""
        value = str(value)
        if self.library and value.startswith(self.library):
            return value
        if value not in self.entries and ":" not in value:
            if len(self.entries) <= FEW_NAMES:
                self.fail(f"{value!r} is not one of {', '.join(self.entries)}, nor module:function")
            from difflib import get_close_matches

            near = get_close_matches(value, self.entries)
            suggestion = f"; did you mean {' or '.join(near)}?" if near else "."
            where = f" {self.all_names} lists all names." if self.all_names else ""
            self.fail(f"{value!r} is neither a known name nor module:function{suggestion}{where}")
        return value if value in self.entries else plug_in_name(value, param, ctx)


class Parsed(click.ParamType):
    """What a function makes of a text, or of a value in a TOML file; its ValueError is a misuse.

    Args:
        name: of the type; `--help` shows it, where `metavar` is not given.
    """

    def __init__(self, name: str, parse: Callable[[Any], Any], *, metavar: str | None = None):
        self.name, self.parse, self.metavar = name, parse, metavar

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        """What `--help` shows for the value."""
        return self.metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Accept what the function does."""
        try:
            return self.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _parse_length(value: Any) -> Any:
    from fusion.tables.windows import Span

    return value if isinstance(value, Span) else Span.parse(str(value))


def _parse_bound(value: Any) -> Any:
    return value if value == "auto" else click.FloatRange(min=0, min_open=True)(value)


def _parse_count(value: Any) -> int | str:
    text = str(value)
    if text == "auto":
        return text
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f"{text!r} is neither a whole number from 1 nor auto")
    return int(text)


def _parse_score_input(value: Any) -> Path:
    """A path that exists, or a text that is not one by itself."""
    if not isinstance(value, (str, PathLike)):
        raise ValueError(f"{value!r} is no path; in a file of options it stands in quotes")
    if reason := why_address(value):
        raise ValueError(f"{str(value)!r}: {reason}")
    if not Path(value).exists() and "=" not in str(value) and "{" not in str(value):
        raise ValueError(f"{str(value)!r} does not exist")
    return Path(value)


def _whole_numbers(value: Any, separator: str = ",") -> tuple[int, ...] | None:
    """Of a text or a list, none of nothing; None where there is something else in it."""
    try:
        parts = value.split(separator) if isinstance(value, str) and value else value or ()
        return tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        return None


def _parse_frame_size(value: Any) -> tuple[int, ...]:
    size = _whole_numbers(value, "x")
    if size is None or (size and (len(size) != 2 or min(size) < 1)):
        raise ValueError(f"{value!r} is no height and width, such as 256x320")
    return size


def _parse_short_sides(value: Any) -> tuple[int, ...]:
    sides = _whole_numbers(value)
    if sides is None or (sides and (len(sides) != 2 or not 1 <= sides[0] <= sides[1])):
        raise ValueError(
            f"{value!r} is not the least and the largest short side in pixels, such as 256,320"
        )
    return sides


def _parse_splits(value: Any) -> tuple[int, ...] | str:
    splits = _whole_numbers(value) if value not in ("", "all") else None
    if value == "all":
        return "all"
    if splits is None:
        raise ValueError(f"{value!r} is neither a list of splits, such as 1,2,3, nor all")
    if list(splits) != sorted(set(splits)) or not splits or splits[0] < 1:
        raise ValueError(f"{value!r}: splits must rise, from 1")
    return splits


def numbers(name: str, *, least: int) -> Parsed:
    """Numbers of something in rising order: `15,25`, or [15, 25] in a TOML file.

    Args:
        name: what they are of, such as epochs.
        least: the smallest that is allowed.
    """

    def parse(value: Any) -> tuple[int, ...]:
        listed = _whole_numbers(value)
        if listed is None:
            raise ValueError(f"{value!r} is not a list of {name}, such as 15,25")
        if list(listed) != sorted(set(listed)) or any(n < least for n in listed):
            raise ValueError(f"{value!r}: {name} must rise, from {least}")
        return listed

    return Parsed(name, parse)


# Seconds, or frames with an `f` behind them: a `fusion.tables.windows.Span`.
LENGTH_OF_TIME = Parsed("length", _parse_length, metavar="SECONDS|FRAMESf")
BOUND = Parsed("pixels|auto", _parse_bound)
COUNT_OR_AUTO = Parsed("count", _parse_count, metavar="[N|auto]")
# `256x320`, or [256, 320] in a TOML file; nothing leaves frames as they are.
FRAME_SIZE = Parsed("HEIGHTxWIDTH", _parse_frame_size)
# The least and the largest: `256,320`, or [256, 320] in a TOML file; nothing means no jitter.
SHORT_SIDES = Parsed("LEAST,LARGEST", _parse_short_sides)
# `1,2,3`, a list in a TOML file, or `all`.
SPLITS = Parsed("splits", _parse_splits, metavar="[N,...|all]")
# A score file or run folder: PATH, STREAM=PATH or SYSTEM/STREAM=PATH, where `{split}` and `{seed}`
# may stand for numbers in PATH. `typed_sources` resolves it.
SCORE_INPUT = Parsed("score file", _parse_score_input)
