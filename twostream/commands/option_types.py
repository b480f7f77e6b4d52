"""Types of option values: files and folders, names of plug-ins, and what click has no type for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class LengthOfTime(click.ParamType):
    """Seconds, or frames with an `f` behind them; the value is a `fusion.tables.windows.Span`."""

    name = "length"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show the form in `--help`."""
        return "SECONDS|FRAMESf"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Accept what there is; the rest is a usage error."""
        from fusion.tables.windows import Span

        if isinstance(value, Span):
            return value
        try:
            return Span.parse(str(value))
        except InputError as error:
            self.fail(str(error))


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


class Bound(click.ParamType):
    """Pixels, or `auto`."""

    name = "pixels|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Accept a number above 0; `auto` stays text."""
        if value == "auto":
            return value
        return click.FloatRange(min=0, min_open=True).convert(value, param, ctx)


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


class Splits(click.ParamType):
    """Numbers of splits in rising order: `1,2,3`, or the word `all`; in a TOML file also a list."""

    name = "splits"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show both in `--help`."""
        return "[N,...|all]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...] | str:
        """Accept text or a list; the value is a tuple, or `all`."""
        if value == "all":
            return "all"
        parts: Sequence[Any] = value.split(",") if isinstance(value, str) else value
        try:
            splits = tuple(int(part) for part in parts)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither a list of splits, such as 1,2,3, nor all", param, ctx)
        if list(splits) != sorted(set(splits)) or not splits or splits[0] < 1:
            self.fail(f"{value!r}: splits must rise, from 1", param, ctx)
        return splits


class ScoreInput(click.ParamType):
    """A score file or run folder: PATH, STREAM=PATH or SYSTEM/STREAM=PATH.

    In PATH `{split}` and `{seed}` may stand for numbers. `typed_sources` resolves it.
    """

    name = "score file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Accept a path that exists, and a text that is not one by itself."""
        path = Path(value)
        if reason := why_address(value):
            self.fail(f"{str(value)!r}: {reason}", param, ctx)
        if not path.exists() and "=" not in str(value) and "{" not in str(value):
            self.fail(f"{str(value)!r} does not exist", param, ctx)
        return path


class ShortSides(click.ParamType):
    """The least and the largest short side: `256,320`, or [256, 320] in a TOML file."""

    name = "LEAST,LARGEST"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Accept text or a list; nothing means no jitter."""
        parts = value.split(",") if isinstance(value, str) and value else value or ()
        try:
            sides = tuple(int(part) for part in parts)
        except (TypeError, ValueError):
            sides = (0,)
        if sides and (len(sides) != 2 or not 1 <= sides[0] <= sides[1]):
            self.fail(
                f"{value!r} is not the least and the largest short side in pixels, such as 256,320"
            )
        return sides


class Numbers(click.ParamType):
    """Numbers in rising order: `15,25` on the command line, [15, 25] in a TOML file.

    Args:
        name: what they are of, such as epochs.
        least: the smallest that is allowed.
    """

    def __init__(self, name: str, *, least: int) -> None:
        self.name, self.least = name, least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Accept text or a list; the value is a tuple."""
        parts: Sequence[Any] = value.split(",") if isinstance(value, str) and value else value or ()
        try:
            numbers = tuple(int(part) for part in parts)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not a list of {self.name}, such as 15,25", param, ctx)
        if list(numbers) != sorted(set(numbers)) or any(n < self.least for n in numbers):
            self.fail(f"{value!r}: {self.name} must rise, from {self.least}", param, ctx)
        return numbers
