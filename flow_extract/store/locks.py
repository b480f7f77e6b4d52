"""One lock a video: several extractions of one store share the work and never do a video twice.

The lock is the kernel's (`flock`, through the library filelock) on a file below `<store>/.locks/`,
so it is released when its holder dies, whatever the cause. The file is there only while the lock is
held, or after its holder was killed; `remove_unused_locks` removes the latter.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

FOLDER = ".locks"


@contextmanager
def locked(store: Path, name: str) -> Iterator[bool]:
    """Hold the lock of a video for the length of the block; yields False if it is held already.

    Raises:
        OSError: the lock cannot be written (disk full, no permission).
    """
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()  # a name may be long, and in folders
    with _held(store / FOLDER / f"{digest[:32]}.lock") as mine:
        yield mine


def remove_unused_locks(store: Path) -> None:
    """Remove the lock files that nobody holds, and their folder once it is empty."""
    folder = store / FOLDER
    with suppress(FileNotFoundError):  # there is none, or another run has just removed it
        for name in os.listdir(folder):
            with _held(folder / name):
                pass
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def _held(path: Path) -> Iterator[bool]:
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
            path.unlink(missing_ok=True)
        finally:
            lock.release()
