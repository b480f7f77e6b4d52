"""Running many jobs on the cores of one machine, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from flow_extract.store.locks import is_running
from twostream_base import heartbeat

J = TypeVar("J")

# Imported once, in the process from which the others are forked: a new one then takes milliseconds.
PRELOAD = ("flow_extract.extraction.folder",)
# Parallel is what runs side by side; inside, libraries would start a thread for each core again.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Python starts the processes of multiprocessing with the current folder before the standard
# library, so that a struct.py among someone's videos would run. Not with this:
SAFE_PATH = {"PYTHONSAFEPATH": "1"}

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
# A fork server that was killed may take this long to be gone.
SERVER_SECONDS = 0.2
# A process that has answered may take this long to leave.
EXIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        status: `returned`; `raised` (an exception); `crashed` (its process died); `timeout` (it
            hung); `lost` (on a cluster: so did each process that was to start it).
        value: what the function returned.
        reason: for all but `returned`: the exception, the signal or the time.
    """

    status: str
    value: Any = None
    reason: str = ""


# `run_jobs`, or a function like it.
Engine = Callable[..., Generator[tuple[Any, Any], None, None]]
WORKING = Outcome("working")  # sent by a job that makes progress


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
    lasting: bool = False,
) -> Generator[tuple[J, Any], None, None]:
    """Run `function(job)` for every job, each in a process of its own; yield them as they end.

    A job that dies, hangs or raises costs only itself. When the caller stops (an interrupt, or it
    closes the generator), running jobs are killed. When the caller itself is killed they notice,
    and end too.

    Args:
        function: importable by its name; must tolerate being killed at any moment.
        jobs: picklable.
        workers: processes alive at one time.
        timeout: seconds after its last sign of progress (`heartbeat.beat`), or its start, after
            which a job is killed.
        preload: modules that jobs need; they are imported once.
        claim: `claim(job)` is entered before the process of a job starts, and left when the job has
            been concluded. If it gives anything but None, this is yielded and no process starts.
        conclude: what `conclude(job, outcome)` makes of an outcome is yielded in its place. It is
            called in the process that started the job, when that one's own process has ended.
        lasting: a process that has answered does another job. Of one that dies or hangs only the
            job at that moment is lost, too; the next has a new process. It is always so where there
            is no fork server, as each process imports everything for itself.
    """
    if has_fork_server():
        context: Any = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
        _start_server()
    else:
        context, lasting = multiprocessing.get_context("spawn"), True
    waiting = iter(jobs)
    running: list[_Worker[J]] = []
    idle: list[_Worker[J]] = []
    try:
        while True:
            while len(running) < workers and (job := next(waiting, None)) is not None:
                claimed = ExitStack()
                answer = claimed.enter_context(claim(job))
                if answer is not None:
                    claimed.close()
                    yield job, answer
                    continue
                try:
                    worker = _hand_over(job, idle) or _start(context, function, job, lasting)
                except BaseException:
                    claimed.close()
                    raise
                worker.claimed = claimed
                # What the server imports first is not the job's time.
                worker.deadline = time.monotonic() + timeout
                running.append(worker)
            if not running:
                return
            for worker in _wait_for_any(running):
                outcome = _answer(worker, timeout)
                if outcome == WORKING:
                    continue
                if lasting and outcome and outcome.status == "returned":
                    idle.append(worker)
                elif lasting and outcome:  # what it raised may have broken it, as a fault of CUDA
                    worker.kill()
                else:
                    outcome = _end(worker, outcome, timeout)
                running.remove(worker)
                with worker.claimed:
                    result = conclude(worker.job, outcome)
                yield worker.job, result
    finally:
        for worker in (*running, *idle):
            worker.process.kill()
        for worker in (*running, *idle):
            worker.kill()
            # Also where the server that reports its end was killed too.
            end = time.monotonic() + EXIT_SECONDS
            while is_running(worker.process.pid) and time.monotonic() < end:
                time.sleep(0.005)
            worker.claimed.close()


def has_fork_server() -> bool:
    """Whether processes are forked from one that has imported already; else they are spawned.

    Windows forks none. macOS does, but OpenCV and FFmpeg use frameworks of the system there which
    a forked process must not.
    """
    return sys.platform != "darwin" and "forkserver" in multiprocessing.get_all_start_methods()


@contextmanager
def _environment_of_jobs() -> Iterator[None]:
    environment = os.environ.copy()
    os.environ.update(ONE_THREAD | SAFE_PATH)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)


def _start_server() -> None:
    """Start the process from which the others are forked, where it does not run (any more)."""
    from multiprocessing import forkserver

    with _environment_of_jobs():
        forkserver.ensure_running()


def _hand_over(job: J, idle: list[_Worker[J]]) -> _Worker[J] | None:
    """An idle worker that has taken the job; None where none is left."""
    while idle:
        worker = idle[-1]  # until it has the job, so that it ends whatever the sending raises
        try:
            worker.pipe.send(job)
        except OSError:  # it has died meanwhile
            idle.pop().kill()
        else:
            worker.job = job
            return idle.pop()
    return None


def _start(context: Any, function: Callable[[J], Any], job: J, lasting: bool) -> _Worker[J]:
    """Start a worker on a job; once more with a new server, where the old one was killed."""
    pipe, far_end = context.Pipe(duplex=lasting)
    with far_end:
        for is_last in (False, True):
            arguments = (function, job, far_end, lasting)
            process = context.Process(target=_child, args=arguments, daemon=True)
            try:
                with _interrupts_held_back(), _environment_of_jobs():
                    if has_fork_server():
                        _start_server()
                    process.start()
            except (EOFError, ConnectionError) as error:
                if is_last:
                    raise OSError(
                        "the process that starts the workers was killed, perhaps for lack of "
                        "memory; re-run the same command to go on, with fewer --workers if it "
                        "happens again"
                    ) from error
                time.sleep(SERVER_SECONDS)  # until it counts as dead
            else:
                break
    return _Worker(job, process, pipe)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """An interrupt in the middle of a start would leave a child that complains."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows: there it may
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(slots=True, eq=False)
class _Worker(Generic[J]):
    """A process, our end of the pipe to it, and what it does, until when."""

    job: J
    process: Any
    pipe: Connection
    deadline: float = 0.0
    claimed: ExitStack = field(default_factory=ExitStack)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _child(function: Callable[[J], Any], job: J, sender: Connection, lasting: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us

    def die_with_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=die_with_parent, daemon=True).start()
    sending = threading.Lock()

    def send(message: Outcome) -> None:
        with sending:
            sender.send(message)

    heartbeat.send_by(partial(send, WORKING))
    # The run was stopped: nobody waits for an answer any more, or has another job.
    with suppress(BrokenPipeError, EOFError):
        while True:
            try:
                message = Outcome("returned", function(job))
            except Exception as error:
                text = " ".join(str(error).split())
                message = Outcome("raised", reason=f"{type(error).__name__}: {text}")
            send(message)
            if not lasting:
                return
            job = sender.recv()


def _wait_for_any(running: list[_Worker[J]]) -> list[_Worker[J]]:
    """Wait until jobs have sent something, died or run out of time, and return them."""
    seconds_left = min(worker.deadline for worker in running) - time.monotonic()
    handles = [handle for worker in running for handle in (worker.pipe, worker.process.sentinel)]
    ready = wait(handles, timeout=max(0.0, seconds_left))
    now = time.monotonic()
    return [
        worker
        for worker in running
        if worker.pipe in ready or worker.process.sentinel in ready or worker.deadline <= now
    ]


def _answer(worker: _Worker[J], timeout: float) -> Outcome | None:
    """What a job has answered; `WORKING` where it has sent a sign of progress, and has more time.

    None where it died before or while it answered, or is out of time.
    """
    answer: Outcome | None = None
    try:
        while answer in (None, WORKING) and worker.pipe.poll():
            answer = worker.pipe.recv()
    except (EOFError, OSError):
        return None
    if answer == WORKING:
        worker.deadline = time.monotonic() + timeout
    return answer


def _end(worker: _Worker[J], answer: Outcome | None, timeout: float) -> Outcome:
    """The outcome of a job that has answered, died or run out of time; its process ends."""
    # Without an answer it is dying (its end of the pipe closes a moment earlier) or out of time.
    grace = EXIT_SECONDS if answer else max(0.0, worker.deadline - time.monotonic())
    worker.process.join(grace)
    hangs = worker.process.is_alive()
    worker.kill()
    if answer:
        return answer
    if not hangs and is_running(worker.process.pid):  # who would tell of its end was killed
        with suppress(ProcessLookupError):
            os.kill(worker.process.pid, signal.SIGKILL)
        return Outcome("crashed", reason="the process that started it was killed")
    if hangs:
        return Outcome("timeout", reason=f"no progress for {timeout:g} s")
    code = worker.process.exitcode
    if code >= 0:
        return Outcome("crashed", reason=f"exit code {code}")
    try:
        return Outcome("crashed", reason=f"signal {-code} ({signal.Signals(-code).name})")
    except ValueError:  # a signal without a name
        return Outcome("crashed", reason=f"signal {-code}")
