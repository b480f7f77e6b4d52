"""Progress callbacks: what a long computation is doing, and how far it has come."""

from __future__ import annotations

from collections.abc import Callable

# What is being done, in words, and which share of the whole is done: 0..1, never falling.
Progress = Callable[[str, float], None]


def no_progress(what: str, share: float) -> None:
    """Ignore the progress."""


def part_of(progress: Progress, begin: float, end: float) -> Progress:
    """The progress of a part, which is the whole's from the share `begin` to `end`."""
    return lambda what, share: progress(what, begin + (end - begin) * share)
