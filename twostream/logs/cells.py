"""Numbers as people leave them in notes: in LaTeX, in tags, with a percent sign, or as a cross."""

from __future__ import annotations

import re
from decimal import Decimal

_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
_COLOUR = re.compile(r"\\color\{\w+\}")
_MARKS = re.compile(r"</?\w+>|\\%|\*\*|[${}`%\s]")
_WHOLE = re.compile(rf"({_NUMBER})(?:\(\d+\))?")


def number(cell: str) -> Decimal | None:
    r"""The number of a cell with all digits as printed, or None where it holds none.

    `$\color{red}{49.412}$`, `<sub>34.62(115000)</sub>` (value and iteration), `80`, `5e-09` are
    numbers; `x`, `best` and an empty cell are not.
    """
    found = _WHOLE.fullmatch(_MARKS.sub("", _COLOUR.sub("", cell)))
    return Decimal(found[1]) if found else None


def pair(cell: str) -> tuple[Decimal | None, Decimal | None] | None:
    """The two numbers of `72.28 / 90.30`; `x` is an unknown one. None for any other cell."""
    parts = cell.split("/")
    if len(parts) != 2 or number(parts[0]) is None:
        return None
    return number(parts[0]), number(parts[1])
