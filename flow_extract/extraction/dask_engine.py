"""Running the jobs of an extraction on a Dask cluster, of this machine or one elsewhere."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from flow_extract.extraction.executor import Outcome, run_jobs, unchanged
from twostream_base.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

J = TypeVar("J")

RETRIES = 3  # times that a job is given to another worker when Dask could not run it
LOST = Outcome("lost", reason="each Dask worker that had it died")
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
    # Its client has a level of its own, and would tell the end of a scheduler by two tracebacks.
    for name in ("distributed", "distributed.client", "distributed.utils", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
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


def run_jobs_on_dask(
    function: Callable[[J], Any],
    jobs: Iterable[J],
    *,
    workers: int,
    scheduler: str | None = None,
    conclude: Callable[[J, Outcome], Any] = unchanged,
    **options: Any,
) -> Generator[tuple[J, Any], None, None]:
    """Do what `executor.run_jobs` does, on a cluster.

    Each Dask worker runs a job in a process of its own, so a job that dies or hangs does not take
    the worker along. A job that was on a worker that died is done again by another.

    Args:
        jobs: paths in them must be the same on all machines.
        workers: of a cluster on this machine; ignored for one that runs already.
        scheduler: address of a running scheduler, such as `tcp://node1:8786`; None starts a cluster
            on this machine and ends it afterwards.
        conclude: called by the Dask worker, and here for a job that was lost.
        options: `timeout`, `preload` and `claim`, for each Dask worker.

    Raises:
        InputError: Dask is not installed, no scheduler answers, or its workers lack this package.
        OSError: the scheduler was lost on the way.
    """
    with connected(workers, scheduler) as client:
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        if scheduler:
            _check_imports(client, scheduler)
        run = partial(run_jobs, function, workers=1, conclude=conclude, **options)
        task = partial(_in_own_process, run)
        futures = {client.submit(task, job, pure=False, retries=RETRIES): job for job in jobs}
        for future in as_completed(list(futures)):
            job = futures.pop(future)
            if future.status == "finished":
                yield job, future.result()
            elif future.status == "error":
                error = future.exception()
                if not isinstance(error, KilledWorker):
                    raise OSError(f"Dask cannot run the jobs: {type(error).__name__}: {error}")
                yield job, conclude(job, LOST)
            else:
                raise OSError("the Dask scheduler is gone; re-run the same command to resume")


def _in_own_process(run: Callable[[list[J]], Iterable[tuple[J, Any]]], job: J) -> Any:
    # Dask marks its workers as daemons, which may have no children lest these outlive them; ours
    # end by themselves when their parent does.
    multiprocessing.current_process().daemon = False
    ((_, result),) = run([job])
    return result


def _check_imports(client: Client, scheduler: str) -> None:
    """Find a cluster without this package before any video is blamed for it."""
    try:
        task = partial(_in_own_process, partial(run_jobs, abs, workers=1, timeout=60.0))
        client.submit(task, -1, pure=False).result()
    except Exception as error:
        raise InputError(
            f"the Dask cluster at {scheduler} cannot run twostream ({error}); install the same "
            "version on its scheduler and workers"
        ) from error
