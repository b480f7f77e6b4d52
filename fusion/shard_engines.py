"""Where shards are worked on: here, one after the other, or by the workers of a Dask cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from twostream.cluster import connected

Job = TypeVar("Job")
Done = TypeVar("Done")

# Results wait for their turn in memory: no more than this many for each worker.
AHEAD = 2


def one_by_one(function: Callable[[Job], Done], jobs: Iterable[Job]) -> Iterator[Done]:
    """Apply `function` to each job, here."""
    return map(function, jobs)


def on_dask(*, workers: int, scheduler: str | None = None) -> Callable[..., Iterator[Any]]:
    """An engine like `one_by_one` on a Dask cluster; results come in the order of the jobs.

    Args:
        workers: processes of a cluster on this machine.
        scheduler: address of a running cluster instead, which must see the same files.

    Raises:
        InputError: Dask is not installed, or no scheduler answers.
    """
    return partial(_map_on_dask, workers=workers, scheduler=scheduler)


def _map_on_dask(
    function: Callable[[Job], Done], jobs: Iterable[Job], *, workers: int, scheduler: str | None
) -> Iterator[Done]:
    with connected(workers, scheduler) as client:
        ahead = AHEAD * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        waiting: deque[Any] = deque()
        for job in jobs:
            waiting.append(client.submit(function, job, pure=False))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
