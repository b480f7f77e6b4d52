"""Real processes that start at once: forks of one that has imported already what they need.

A kill, a signal or a group of processes takes real processes; that each of them imports torch for
seconds proves nothing.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[2]


class Fork:
    """A running process, with the names of `subprocess.Popen`."""

    def __init__(self, forks: Forks, pid: int, files: tuple[Path, Path]) -> None:
        self.forks, self.pid, self.files = forks, pid, files
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.forks.ask(pid=self.pid, wait=False)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and timeout is None:
            self.returncode = self.forks.ask(pid=self.pid, wait=True)
        end = time.monotonic() + (timeout or 0)
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout or 0)
            time.sleep(0.02)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        output, errors = (file.read_text() for file in self.files)
        return output, errors

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class Forks:
    """The process that imports all of `packages` and is forked."""

    def __init__(self, *packages: str) -> None:
        self.folder = TemporaryDirectory()
        self.count = 0
        self.server = subprocess.Popen(
            [sys.executable, __file__, *packages],
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask()  # answered when it has imported them: who times a start does not time that
        atexit.register(self.close)

    def close(self) -> None:
        """End it; what was forked lives on."""
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()

    def ask(self, **request: Any) -> Any:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        program: Path | None = None,
        environment: Mapping[str, str] = {},  # noqa: B006  (never changed)
    ) -> Fork:
        """Start `twostream arguments`, or a Python file, as the leader of a process group.

        `cwd` is a place for modules too, as in `PYTHONPATH=.`.
        """
        self.count += 1
        files = tuple(Path(self.folder.name, f"{self.count}-{kind}") for kind in ("out", "err"))
        python_path = os.pathsep.join([str(ROOT), str(cwd)])
        pid = self.ask(
            argv=[str(program or "twostream"), *arguments],
            cwd=str(cwd),
            environment={**os.environ, "PYTHONPATH": python_path, **environment},
            files=[str(file) for file in files],
            program=program and str(program),
        )
        return Fork(self, pid, (files[0], files[1]))


def serve() -> dict[str, Any] | None:
    """Answer requests to start and to look after processes; what to do, in a process started."""
    for line in sys.stdin:
        request = json.loads(line)
        answer = None
        if "pid" in request:
            pid, status = os.waitpid(request["pid"], 0 if request["wait"] else os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif request:
            answer = os.fork()
            if answer == 0:
                os.setpgid(0, 0)
                return request
            os.setpgid(answer, answer)  # whichever comes first: its maker may kill the group now
        print(json.dumps(answer), flush=True)
    return None


def become(request: dict[str, Any]) -> None:
    """Turn into the process that was asked for."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(request["files"], start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:1] = request["environment"]["PYTHONPATH"].split(os.pathsep)
    sys.argv[:] = request["argv"]
    if request["program"]:
        runpy.run_path(request["program"], run_name="__main__")
    else:
        runpy.run_module("twostream", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for package in sys.argv[1:]:
        for module in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        ):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    if task := serve():
        become(task)
