"""What a command costs altogether, with every process that it starts."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

# prctl option of Linux: orphaned grandchildren become our children, so that their time counts.
PR_SET_CHILD_SUBREAPER = 36


def cost_of(command: Sequence[str | Path], *, cwd: Path, cores: set[int]) -> tuple[float, float]:
    """Run a command on these cores; return its wall and CPU seconds, descendants included.

    No other child of this process may be running.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    before, start, mine = _children_seconds(), time.perf_counter(), os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        _wait_for_orphans()
    finally:
        os.sched_setaffinity(0, mine)
    return wall, _children_seconds() - before


def _wait_for_orphans() -> None:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
