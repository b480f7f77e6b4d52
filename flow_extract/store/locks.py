"""One lock a video: several extractions of one store share the work and never do a video twice.

The lock is the kernel's (`flock`, through the library filelock) on a file below `<store>/.locks/`,
so it is released when its holder dies, whatever the cause. The file is there only while the lock is
held, or after its holder was killed.
"""

from __future__ import annotations

import hashlib
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from twostream_base.files import TEMPORARY_MARK, WINDOWS, machine_id

FOLDER = ".locks"
ABANDONED_SECONDS = 3600


@contextmanager
def locked(store: Path, name: str) -> Iterator[bool]:
    """Hold the lock of a video for the length of the block; yields False if it is held already.

    Raises:
        OSError: the lock cannot be written (disk full, no permission).
    """
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()  # a name may be long, and in folders
    with _held(store / FOLDER / f"{digest[:32]}.lock") as mine:
        yield mine


def remove_leftovers(store: Path) -> None:
    """Remove the temporary files and locks of runs that were killed.

    Temporary files have their writer's machine and process id in their name. Those of a dead
    process of this machine are removed, and all that nobody has touched for an hour. What cannot be
    removed, as on a disk that is read alone, stays.
    """
    for path in temporary_files(store):
        machine, _, rest = path.name.removeprefix(TEMPORARY_MARK).partition("-")
        pid = rest.partition("-")[0]
        dead = machine == machine_id() and pid.isdigit() and not is_running(int(pid))
        with suppress(OSError):  # its writer, or another run, was faster
            if dead or time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()
    locks = store / FOLDER
    with suppress(OSError):
        for lock in os.listdir(locks):
            with _held(locks / lock):
                pass
    with suppress(OSError):  # held by others
        locks.rmdir()


def temporary_files(store: Path) -> Iterator[Path]:
    """The files that are being written below a folder, or were when their writer was killed."""
    for folder, _, files in os.walk(store):
        yield from (Path(folder, file) for file in files if file.startswith(TEMPORARY_MARK))


def is_running(pid: int) -> bool:
    """Whether a process of this machine lives; one that has ended and was not waited for does not.

    Before Linux 5.3, and on macOS, the latter counts as living.
    """
    if WINDOWS:  # there os.kill ends processes, whatever the signal
        return _is_running_on_windows(pid)
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


def _is_running_on_windows(pid: int) -> bool:
    import ctypes

    may_wait, access_denied, still_there = 0x100000, 5, 0x102
    kernel: Any = ctypes.windll.kernel32  # type: ignore[attr-defined]
    if not (handle := kernel.OpenProcess(may_wait, False, pid)):
        return bool(kernel.GetLastError() == access_denied)  # it lives, and is another user's
    try:
        return bool(kernel.WaitForSingleObject(handle, 0) == still_there)
    finally:
        kernel.CloseHandle(handle)


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Hold a lock file, which is removed at the end; yields False if another process holds it."""
    lock = FileLock(path, timeout=0, thread_local=False)
    while not lock.is_locked:
        with suppress(FileExistsError):
            path.parent.mkdir()
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        except (FileNotFoundError, FileExistsError):  # another run has just removed the folder
            continue
    try:
        yield True
    finally:
        try:
            # Before the release. Who opened this file earlier, and locks it now, sees what was done
            # under it: look at the store after locking.
            with suppress(PermissionError):  # Windows removes no open file; the next run does
                path.unlink(missing_ok=True)
        finally:
            lock.release()
