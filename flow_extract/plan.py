"""What is to do in a store, and what an earlier run has settled."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flow_extract.extract import Job, Result, is_current, source_facts
from flow_extract.problems import problem_path, read_problem
from flow_extract.settings import settings_hash
from flow_extract.store import entry_path, read_header
from twostream.errors import InputError
from twostream.files import TEMPORARY_MARK

ABANDONED_SECONDS = 3600


def settled_result(job: Job) -> Result | None:
    """What an earlier run made of a video, or None if it is to be done.

    A store file or problem file counts when it is of these settings and of the same video file
    (path, size and time of change). Whichever does not count goes when the other one does.
    """
    wanted = settings_hash(job.settings)
    source = source_facts(job.video, job.source_path)
    entry, problem = entry_path(job.store, job.name), problem_path(job.store, job.name)
    header = _read(read_header, entry)
    if header and is_current(header, settings_hash=wanted, source=source):
        problem.unlink(missing_ok=True)
        return Result(job.name, header["status"], header["reason"])
    record = _read(read_problem, problem)
    if record and is_current(record, settings_hash=wanted, source=source):
        entry.unlink(missing_ok=True)
        return Result(job.name, record["status"], record["reason"])
    return None


def remove_leftovers(store: Path) -> None:
    """Remove the temporary files of runs that were killed.

    They bear their writer's process id: no such process here, or untouched for an hour.
    """
    for folder, _, files in os.walk(store):
        for path in (Path(folder, file) for file in files if file.startswith(TEMPORARY_MARK)):
            if not _is_alive(path) or time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink(missing_ok=True)


def _read(read: Callable[[Path], dict[str, Any]], path: Path) -> dict[str, Any] | None:
    """A record, or None where there is none or it is damaged: the video is then done again."""
    try:
        return read(path) if path.exists() else None
    except InputError:
        return None


def _is_alive(temporary: Path) -> bool:
    owner = temporary.name.removeprefix(TEMPORARY_MARK).partition("-")[0]
    try:
        os.kill(int(owner), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # another user's
        return True
    return True
