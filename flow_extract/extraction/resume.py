"""Resuming: what of a store is up to date, who works on which video, and how its job ended."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from flow_extract.extraction.executor import Outcome
from flow_extract.extraction.one_video import Job, Result, record_problem, source_of, unwritable
from flow_extract.store.header import is_current, settings_hash
from flow_extract.store.locks import locked
from flow_extract.store.manifest import problem_path, read_problem
from flow_extract.store.reader import entry_path, read_header
from twostream_base.errors import InputError
from twostream_base.files import sha256_file

# What a video is not to blame for: the machine may have been out of memory, or too slow.
TRIED_AGAIN = ("crashed", "timeout")


def up_to_date(job: Job) -> Result | None:
    """What an earlier run made of a video, or None if it is to be extracted.

    A store file or problem file counts when it is of these settings and of the same video file
    (path, size and time of change; with `job.verify_checksum` also sha256). Of a video with both
    kinds of file, the one that does not count is removed.
    """
    settings = settings_hash(job.settings)
    source = source_of(job.video, job.source_path)
    entry, problem = entry_path(job.store, job.name), problem_path(job.store, job.name)
    header = _read(read_header, entry)
    if header and is_current(header, settings_hash=settings, source=source):
        try:
            verified = not job.verify_checksum or sha256_file(job.video) == header["source"].get(
                "sha256"
            )
        except OSError:  # unreadable now; extraction will say why
            verified = False
        if verified:
            problem.unlink(missing_ok=True)
            return Result(job.name, header["status"], header["reason"], reused=True)
    record = _read(read_problem, problem)
    if record and is_current(record, settings_hash=settings, source=source):
        if problem.stat().st_mtime_ns == job.ignore_problem_from:
            return None
        entry.unlink(missing_ok=True)
        return Result(job.name, record["status"], record["reason"], reused=True)
    return None


def problem_to_retry(job: Job, result: Result, *, retry_failed: bool) -> int | None:
    """The value of `Job.ignore_problem_from` if this earlier result is to be tried again."""
    if result.status in TRIED_AGAIN or (retry_failed and result.status == "failed"):
        try:
            return problem_path(job.store, job.name).stat().st_mtime_ns
        except FileNotFoundError:
            return None
    return None


@contextmanager
def claim(job: Job) -> Iterator[Result | None]:
    """Hold the lock of a video for the length of the block.

    Yields:
        None if the video is to be extracted; else why not: its result where somebody else has done
        it (`reused`), `busy` where somebody works on it, `unwritable` where there can be no lock.
    """
    with ExitStack() as stack:
        try:
            if not job.store.is_dir():
                reason = "this machine does not see it"
                raise FileNotFoundError(errno.ENOENT, reason, str(job.store))
            mine = stack.enter_context(locked(job.store, job.name))
            result = up_to_date(job) if mine else Result(job.name, "busy")
        except OSError as error:
            result = unwritable(job, error)
        yield result


def record_outcome(job: Job, outcome: Outcome) -> Result:
    """The result of a job of `extract_video`; the death of its process is recorded in the store."""
    if outcome.status == "returned":
        result: Result = outcome.value
        return result
    status = {"raised": "failed", "lost": "crashed"}.get(outcome.status, outcome.status)
    return record_problem(job, status=status, reason=outcome.reason)


def _read(read: Callable[[Path], Mapping[str, Any]], path: Path) -> Mapping[str, Any] | None:
    """A record, or None where there is none or it is damaged: the video is then extracted again."""
    try:
        return read(path) if path.exists() else None
    except InputError:
        return None
