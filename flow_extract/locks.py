"""One lock file per video: whoever holds it works on the video, the others do something else.

`<store>/<name>.lock` is made with O_EXCL and says who holds it: the process that works, and the run
that started it. It goes when the work is done. Where the working process was killed, its run takes
the lock over, to record that; where the run was killed too, the next one to ask does.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from twostream.files import machine_id, path_inside

SUFFIX = ".lock"
# A holder on another machine, which cannot be asked, shows by touching its lock that it lives. The
# clocks of machines that share a store must agree better than the difference of the two.
HEARTBEAT_SECONDS = 15.0
SILENCE_SECONDS = 120.0
# A lock without content was made a moment ago, or its maker was killed in that moment.
BIRTH_SECONDS = 5.0
# All locks have one length, so that overwriting one leaves nothing of the old one.
LENGTH = 256


def lock_path(store: Path, name: str) -> Path:
    """Where the lock of a video is, while somebody works on it."""
    path = path_inside(store, name)
    return path.with_name(path.name + SUFFIX)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a lock for the length of the block; yields False if another living process holds it.

    Raises:
        OSError: the lock cannot be written (disk full, no permission).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (_create(path) or _take_over(path)):
        yield False
        return
    done = threading.Event()
    threading.Thread(target=_keep_touching, args=(path, done), daemon=True).start()
    try:
        yield True
    finally:
        done.set()
        if _read(path) == _own_content():  # else it was taken over while this machine was asleep
            path.unlink(missing_ok=True)


def remove_if_abandoned(path: Path) -> None:
    """Remove a lock whose holder is dead."""
    with _abandoned(path) as handle:
        if handle is not None:
            path.unlink()


def is_running(pid: int, *, started: str | None = None) -> bool:
    """Whether a process of this machine lives; with `started`, not just another of the same id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, and is another user's
        pass
    found = _start_time(pid)
    return found is not None and started in (None, found)


def _start_time(pid: int) -> str | None:
    """When a process began, in ticks since the machine was started; None for one that has ended.

    Empty where the system does not tell.
    """
    try:
        # The second field, the program's name in brackets, may contain anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except ProcessLookupError:  # it ended as we read
        return None
    except OSError:
        return ""
    return None if fields[0] == "Z" else fields[19]


def _create(path: Path) -> bool:
    content = _as_bytes(_own_content())
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    try:
        _write(handle, content, path)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(handle)
    return True


def _take_over(path: Path) -> bool:
    with _abandoned(path) as handle:
        if handle is not None:
            _write(handle, _as_bytes(_own_content()), path)
        return handle is not None


@contextmanager
def _abandoned(path: Path) -> Iterator[int | None]:
    """Yield a handle on a lock whose holder is dead, for one process at a time; else None."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:  # just given back
        yield None
        return
    try:
        yield handle if _is_first_to_see(handle, path) and _is_abandoned(path) else None
    finally:
        os.close(handle)


def _is_first_to_see(handle: int, path: Path) -> bool:
    """Whether nobody else is taking over this file, and it still is the one that bears the name."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _is_abandoned(path: Path) -> bool:
    holder = _read(path)
    if holder is not None and holder["machine"] == machine_id():
        return not (_lives(holder["process"]) or (_lives(holder["run"]) and not _is_ours(holder)))
    patience = BIRTH_SECONDS if holder is None else SILENCE_SECONDS
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > patience
    return False


def _read(path: Path) -> dict[str, Any] | None:
    try:
        holder = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    sound = isinstance(holder, dict) and holder.keys() == _own_content().keys()
    return holder if sound else None


def _own_content() -> dict[str, Any]:
    pid, parent = os.getpid(), multiprocessing.parent_process()
    run = pid if parent is None or parent.pid is None else parent.pid
    return {
        "host": socket.gethostname()[:64],
        "machine": machine_id(),
        "process": [pid, _start_time(pid)],
        "run": [run, _start_time(run)],
    }


def _lives(process: list[Any]) -> bool:
    return is_running(process[0], started=process[1])


def _is_ours(holder: dict[str, Any]) -> bool:
    return holder["run"] == [os.getpid(), _start_time(os.getpid())]


def _as_bytes(holder: dict[str, Any]) -> bytes:
    return json.dumps(holder).ljust(LENGTH).encode()


def _write(handle: int, content: bytes, path: Path) -> None:
    try:
        os.pwrite(handle, content, 0)
    except OSError as error:  # which does not know its file
        raise OSError(error.errno, error.strerror, str(path)) from error
    os.utime(handle)


def _keep_touching(path: Path, done: threading.Event) -> None:
    while not done.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):  # a passing fault of a network drive: the next touch may reach it
            os.utime(path)
