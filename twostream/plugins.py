"""Plug-ins: a name from one of the project's dicts, or the user's own `package.module:function`."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from twostream.errors import InputError

# Many names fill neither the left column of `--help` nor an error.
WIDEST_METAVAR = 60
FEW = 12


class PlugIn(click.ParamType):
    """Command-line type of such a name; the value stays a string, `load` makes it a function.

    Args:
        entries: the names that there are.
        all_names: command that lists them, where they are many.
    """

    name = "plug-in"

    def __init__(self, entries: Mapping[str, Any], *, all_names: str = "") -> None:
        self.entries = entries
        self.all_names = all_names

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show a few names in `--help`, as click.Choice does; of many none."""
        listed = f"[{'|'.join([*self.entries, 'module:function'])}]"
        return listed if len(listed) <= WIDEST_METAVAR else "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Accept a known name or something with a colon; the rest is a usage error."""
        if value not in self.entries and ":" not in str(value):
            if len(self.entries) <= FEW:
                self.fail(f"{value!r} is not one of {', '.join(self.entries)}, nor module:function")
            from difflib import get_close_matches

            near = get_close_matches(str(value), self.entries)
            meant = f"; did you mean {' or '.join(near)}?" if near else "."
            where = f" {self.all_names} lists all names." if self.all_names else ""
            self.fail(f"{value!r} is neither a known name nor module:function{meant}{where}")
        return str(value)


def any_of(entries: Mapping[str, Any]) -> str:
    """All names in words, for the help text of an option that takes one."""
    return f"{', '.join(entries)}, or module:function"


def read_options(texts: Sequence[str], *, option: str) -> dict[str, Any]:
    """Read the `key=value` texts of a command-line option; see `read_pairs`, `read_value`."""
    return {key: read_value(text) for key, text in read_pairs(texts, option=option).items()}


def read_pairs(texts: Sequence[str], *, option: str) -> dict[str, str]:
    """Split the `key=value` texts of a command-line option.

    Raises:
        InputError: a text of another form, or a key given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key or key in pairs:
            raise InputError(f"{option} {text!r}: expected key=value, each key once")
        pairs[key] = value
    return pairs


def read_value(text: str) -> Any:
    """Turn text into the value that was meant: JSON, a number as `.5`, `True`, or else the text."""
    for read in (json.loads, float):
        with suppress(ValueError):
            return read(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def load(name: str, entries: Mapping[str, Any]) -> Any:
    """Return `entries[name]`, or import the function that `package.module:function` names.

    Modules are looked for in the current folder too.
    """
    if name in entries:
        return entries[name]
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise InputError(f"{name!r} is not one of {', '.join(entries)}, nor module:function")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"cannot load {name!r}: {error}") from error
