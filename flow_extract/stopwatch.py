"""Seconds that parts of a work take, added up over the threads that do it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
Function = TypeVar("Function", bound=Callable[..., Any])


class Stopwatch:
    """Measures named parts; may be shared by threads.

    Parts that run side by side count each for itself, so that their sum may exceed the time that
    has gone by.
    """

    def __init__(self) -> None:
        self._measured: list[tuple[str, float]] = []  # appending is atomic

    def iterating(self, part: str, items: Iterable[Item]) -> Iterator[Item]:
        """Pass `items` through; the time it takes to make them counts."""
        iterator = iter(items)
        take = self.calling(part, lambda: next(iterator, _END))
        while (item := take()) is not _END:
            yield item

    def calling(self, part: str, function: Function) -> Function:
        """The same function, whose calls count."""

        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self._measured.append((part, time.perf_counter() - began))

        return timed  # type: ignore[return-value]  # it takes and gives what `function` does

    def seconds(self) -> dict[str, float]:
        """Part -> seconds so far, in the order in which the parts began."""
        total: dict[str, float] = {}
        for part, seconds in self._measured:
            total[part] = total.get(part, 0.0) + seconds
        return total


_END: Any = object()
