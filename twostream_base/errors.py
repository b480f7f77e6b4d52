"""The one error that is the user's to mend, not ours."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(ValueError):
    """Something given to us is wrong: the message says what, where, what is allowed, and the cure.

    The command line prints the message alone (no traceback) and ends with exit code 2.
    """


def some_of(items: Sequence[object], *, limit: int = 5) -> str:
    """Name the first few items of a list: `a, b, c and 14 more`."""
    shown = ", ".join(str(item) for item in items[:limit])
    rest = len(items) - limit
    return f"{shown} and {rest:,} more" if rest > 0 else shown
