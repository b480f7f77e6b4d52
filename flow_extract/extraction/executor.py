"""Many jobs on the cores of one machine; none can harm another."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

J = TypeVar("J")

# Imported once, in the process from which the others are forked: a new one then takes milliseconds.
PRELOAD = ("flow_extract.extraction.one_video", "cv2")
# Parallel is what runs side by side; inside, libraries would start a thread for each core again.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# A process that has answered may take this long to leave.
EXIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        status: `returned`; `raised` (an exception); `crashed` (its process died); `timeout`; `lost`
            (on a cluster: so did each process that was to start it).
        value: what the function returned.
        reason: for all but `returned`: the exception, the signal or the time.
    """

    status: str
    value: Any = None
    reason: str = ""


def unchanged(job: J, outcome: Outcome) -> Outcome:
    """The outcome itself, for `conclude`."""
    return outcome


def unclaimed(job: J) -> AbstractContextManager[None]:
    """Nothing to hold, for `claim`."""
    return nullcontext()


def run_jobs(
    function: Callable[[J], Any],
    jobs: Iterable[J],
    *,
    workers: int,
    timeout: float,
    preload: Sequence[str] = PRELOAD,
    claim: Callable[[J], AbstractContextManager[Any]] = unclaimed,
    conclude: Callable[[J, Outcome], Any] = unchanged,
) -> Generator[tuple[J, Any], None, None]:
    """Run `function(job)` for every job, each in a process of its own; yield them as they end.

    A job that dies, hangs or raises costs only itself. When the caller stops (an interrupt, or it
    closes the generator), running jobs are killed. When the caller itself is killed they notice,
    and end too.

    Args:
        function: importable by its name; must tolerate being killed at any moment.
        jobs: picklable.
        workers: processes alive at one time.
        timeout: seconds after which a job is killed.
        preload: modules that jobs need; they are imported once.
        claim: `claim(job)` is entered before the process of a job starts, and left when the job has
            been concluded. If it gives anything but None, this is yielded and no process starts.
        conclude: what `conclude(job, outcome)` makes of an outcome is yielded in its place. It is
            called in the process that started the job, when that one's own process has ended.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    with _environment(ONE_THREAD):
        forkserver.ensure_running()
    waiting = iter(jobs)
    running: list[_Running[J]] = []
    try:
        while True:
            for job in _take(waiting, running, workers):
                claimed = ExitStack()
                answer = claimed.enter_context(claim(job))
                if answer is None:
                    running.append(_start(context, function, job, timeout, claimed))
                else:
                    claimed.close()
                    yield job, answer
            if not running:
                return
            for item in _next_ended(running):
                outcome = _end(item, timeout)
                running.remove(item)
                with item.claimed:
                    result = conclude(item.job, outcome)
                yield item.job, result
    finally:
        for item in running:
            item.process.kill()
        for item in running:
            item.process.join()
            _wait_until_gone(item.process.pid)
            item.claimed.close()


def is_running(pid: int) -> bool:
    """Whether a process of this machine lives; one that has ended and was not waited for does not.

    Before Linux 5.3, and elsewhere, the latter counts as living.
    """
    try:
        if not hasattr(os, "pidfd_open"):
            os.kill(pid, 0)
            return True
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, and is another user's
        return True
    try:
        return not select.select([handle], [], [], 0)[0]
    finally:
        os.close(handle)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for processes started in the block."""
    before = os.environ.copy()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True, slots=True, eq=False)
class _Running(Generic[J]):
    job: J
    process: Any
    receiver: Connection
    deadline: float
    claimed: ExitStack


def _take(waiting: Iterator[J], running: list[_Running[J]], workers: int) -> Iterator[J]:
    while len(running) < workers:
        try:
            yield next(waiting)
        except StopIteration:
            return


def _start(
    context: Any, function: Callable[[J], Any], job: J, timeout: float, claimed: ExitStack
) -> _Running[J]:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(function, job, sender), daemon=True)
    process.start()
    sender.close()
    return _Running(job, process, receiver, time.monotonic() + timeout, claimed)


def _child(function: Callable[[J], Any], job: J, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        message = Outcome("returned", function(job))
    except Exception as error:
        text = " ".join(str(error).split())
        message = Outcome("raised", reason=f"{type(error).__name__}: {text}")
    with suppress(BrokenPipeError):  # the run was stopped, nobody waits for the answer any more
        sender.send(message)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _next_ended(running: list[_Running[J]]) -> list[_Running[J]]:
    """Wait until jobs have answered, died or run out of time, and return them."""
    patience = min(item.deadline for item in running) - time.monotonic()
    signs = [sign for item in running for sign in (item.receiver, item.process.sentinel)]
    ready = wait(signs, timeout=max(0.0, patience))
    now = time.monotonic()
    return [
        item
        for item in running
        if item.receiver in ready or item.process.sentinel in ready or item.deadline <= now
    ]


def _end(item: _Running[J], timeout: float) -> Outcome:
    answer = _answer(item.receiver)
    # Without an answer it is dying (its end of the pipe closes a moment earlier) or out of time.
    grace = EXIT_SECONDS if answer else max(0.0, item.deadline - time.monotonic())
    item.process.join(grace)
    hangs = item.process.is_alive()
    item.process.kill()
    item.process.join()
    item.receiver.close()
    if answer:
        return answer
    if hangs:
        return Outcome("timeout", reason=f"after {timeout:g} s")
    return Outcome("crashed", reason=_death(item.process.exitcode))


def _wait_until_gone(pid: int) -> None:
    """Wait for the end of a killed process, also where the one that reports it was killed too."""
    end = time.monotonic() + EXIT_SECONDS
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.005)


def _answer(receiver: Connection) -> Outcome | None:
    try:
        return receiver.recv() if receiver.poll() else None
    except (EOFError, OSError):  # it died before or while it answered
        return None


def _death(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"signal {-exit_code} ({signal.Signals(-exit_code).name})"
    except ValueError:
        return f"signal {-exit_code}"
