"""Values of options that click has no type for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


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


class Epochs(click.ParamType):
    """Epochs in rising order: `15,25` on the command line, [15, 25] in a TOML file."""

    name = "epochs"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Accept text or a list; the value is a tuple."""
        parts: Sequence[Any] = value.split(",") if isinstance(value, str) and value else value or ()
        try:
            epochs = tuple(int(part) for part in parts)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not a list of epochs, such as 15,25", param, ctx)
        if list(epochs) != sorted(set(epochs)) or any(epoch < 1 for epoch in epochs):
            self.fail(f"{value!r}: epochs must rise, from 1", param, ctx)
        return epochs
