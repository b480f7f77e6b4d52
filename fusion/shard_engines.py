"""Where shards are worked on: here, one after the other, or by the workers of a Dask cluster."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from twostream.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

Job = TypeVar("Job")
Done = TypeVar("Done")

CONNECT_SECONDS = 20
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
    with _connected(workers, scheduler) as client:
        ahead = AHEAD * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        waiting: deque[Any] = deque()
        for job in jobs:
            waiting.append(client.submit(function, job, pure=False))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _connected(workers: int, scheduler: str | None) -> Iterator[Client]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise InputError(
            "--engine dask needs Dask: pip install 'dask[distributed]', or the extra `cluster`"
        ) from None
    # Errors of the jobs are raised here; Dask's own account would be mixed into the result.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler is None:
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {scheduler!r}: {error}") from error
    with client:
        yield client
