"""Command-line type of a plug-in name: an entry of a dict, or `module:function`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from twostream_base.plugins import FEW, WIDEST_METAVAR


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
