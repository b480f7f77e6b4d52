"""A Dask cluster to work on: one of this machine, or one that runs elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from twostream_base.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 20
# Deaths of workers after which a job is given up: Dask's own default of a running cluster.
ALLOWED_DEATHS = 3


@contextmanager
def connected(workers: int, scheduler: str | None) -> Iterator[Client]:
    """Talk to a cluster for as long as the block lasts.

    Args:
        workers: processes of a cluster on this machine, which ends with the block.
        scheduler: address of a running cluster instead, such as `tcp://node1:8786`.

    Raises:
        InputError: Dask is not installed, or no scheduler answers.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise InputError(
            "--engine dask needs Dask: pip install 'dask[distributed]', or the extra `cluster`"
        ) from None
    # What goes wrong is told by the jobs; Dask's own account of it would be mixed into the results.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler is None:
        with (
            dask.config.set(
                {
                    "distributed.scheduler.allowed-failures": ALLOWED_DEATHS,
                    # As in `executor.SAFE_PATH`: workers import nothing from the current folder.
                    "distributed.nanny.pre-spawn-environ.PYTHONSAFEPATH": "1",
                }
            ),
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",  # any free port: two runs do not collide
                memory_limit=0,
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
