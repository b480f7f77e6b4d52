"""What is to do in a store, what has been settled, and who does it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from flow_extract.extraction.executor import Outcome, is_running
from flow_extract.extraction.one_video import (
    Job,
    Result,
    is_current,
    record_problem,
    source_facts,
    unwritable,
)
from flow_extract.store.locks import locked, remove_unused_locks
from flow_extract.store.manifest import problem_path, read_problem
from flow_extract.store.reader import entry_path, read_header
from flow_extract.store.settings import settings_hash
from twostream_base.errors import InputError
from twostream_base.files import TEMPORARY_MARK, machine_id, sha256_file

ABANDONED_SECONDS = 3600
# What a video is not to blame for: the machine may have been out of memory, or too slow.
TRIED_AGAIN = ("crashed", "timeout")


def settled_result(job: Job) -> Result | None:
    """What was made of a video, or None if it is to be done.

    A store file or problem file counts when it is of these settings and of the same video file
    (path, size and time of change; with `job.deep` also sha256). Whichever does not count goes when
    the other one does.
    """
    wanted = settings_hash(job.settings)
    source = source_facts(job.video, job.source_path)
    entry, problem = entry_path(job.store, job.name), problem_path(job.store, job.name)
    header = _read(read_header, entry)
    if (
        header
        and is_current(header, settings_hash=wanted, source=source)
        and (not job.deep or header["source"].get("sha256") == _digest(job.video))
    ):
        problem.unlink(missing_ok=True)
        return Result(job.name, header["status"], header["reason"], settled=True)
    record = _read(read_problem, problem)
    if record and is_current(record, settings_hash=wanted, source=source):
        if _written(problem) == job.retry_of:
            return None
        entry.unlink(missing_ok=True)
        return Result(job.name, record["status"], record["reason"], settled=True)
    return None


def problem_to_retry(job: Job, result: Result, *, retry_failed: bool) -> int | None:
    """What goes into `Job.retry_of` if this earlier result is to be tried again, else None."""
    again = (*TRIED_AGAIN, "failed") if retry_failed else TRIED_AGAIN
    return _written(problem_path(job.store, job.name)) if result.status in again else None


@contextmanager
def claim(job: Job) -> Iterator[Result | None]:
    """Hold the lock of a video for the length of the block.

    Yields:
        None if the video is to be extracted; else why not: its result where somebody else has done
        it (`settled`), `busy` where somebody is at it, `unwritable` where the lock is.
    """
    with ExitStack() as stack:
        try:
            if not job.store.is_dir():
                raise FileNotFoundError(
                    errno.ENOENT, "this machine does not see it", str(job.store)
                )
            mine = stack.enter_context(locked(job.store, job.name))
            result = settled_result(job) if mine else Result(job.name, "busy")
        except OSError as error:
            result = unwritable(job, error)
        yield result


def conclude(job: Job, outcome: Outcome) -> Result:
    """The result of a job that was claimed; if its process died, that is recorded in the store."""
    if outcome.status == "returned":
        result: Result = outcome.value
        return result
    status = {"raised": "failed", "lost": "crashed"}.get(outcome.status, outcome.status)
    try:
        record_problem(job, status=status, reason=outcome.reason)
    except OSError as error:
        return unwritable(job, error)
    return Result(job.name, status, outcome.reason)


def remove_leftovers(store: Path) -> None:
    """Remove the temporary files and locks of runs that were killed.

    Temporary files bear their writer's machine and process id. Those of a dead process of this
    machine go, and all that nobody has touched for an hour.
    """
    for folder, _, files in os.walk(store):
        for path in (Path(folder, file) for file in files):
            if path.name.startswith(TEMPORARY_MARK) and (
                _has_dead_writer(path) or _age(path) > ABANDONED_SECONDS
            ):
                path.unlink(missing_ok=True)
    remove_unused_locks(store)


def _digest(video: Path) -> str | None:
    try:
        return sha256_file(video)
    except OSError:  # unreadable now: not settled, and extraction will say why
        return None


def _read(read: Callable[[Path], dict[str, Any]], path: Path) -> dict[str, Any] | None:
    """A record, or None where there is none or it is damaged: the video is then done again."""
    try:
        return read(path) if path.exists() else None
    except InputError:
        return None


def _written(path: Path) -> int | None:
    """When a file was written, in nanoseconds; None if it is not there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _age(path: Path) -> float:
    written = _written(path)
    return 0.0 if written is None else time.time() - written / 1e9


def _has_dead_writer(temporary: Path) -> bool:
    machine, _, rest = temporary.name.removeprefix(TEMPORARY_MARK).partition("-")
    pid = rest.partition("-")[0]
    return machine == machine_id() and pid.isdigit() and not is_running(int(pid))
