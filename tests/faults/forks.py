"""Real processes that start at once: forks of one that has imported already what they need.

A kill, a signal or a group of processes takes real processes; that each of them imports torch for
seconds proves nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import itertools
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver, util
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":
    import fcntl

# Elsewhere, processes are started as everywhere: libraries of macOS do not survive a fork.
CAN_FORK = sys.platform == "linux"
ROOT = Path(__file__).parents[2]
# Names the folder of the sockets, to the processes of one run of the tests.
VARIABLE = "TWOSTREAM_TESTS_FORKS"
# What a server of a loaded machine may do: have too many waiting, or hang up on a slow one.
BUSY, PATIENCE = (BlockingIOError, ConnectionError), 60.0
# The servers: what each of them has imported. Training and scoring load torch._dynamo late, for
# seconds; the processes of an extraction are many, and small ones fork faster.
PRELOAD = {
    "twostream": ("flow_extract", "fusion", "twostream", "torch._dynamo"),
    "extraction": ("flow_extract.extraction", "av.video.reformatter", "twostream.commands"),
}


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
        """The exit code; TimeoutError where it takes longer."""
        if self.returncode is None:
            self.returncode = self.forks.ask(timeout, pid=self.pid, wait=True)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        output, errors = (file.read_text() for file in self.files)
        return output, errors

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # as Popen does
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forks:
    """A server of `PRELOAD`, which is forked.

    It is started by the first process of a run of the tests that asks for it.
    """

    def __init__(self, name: str) -> None:
        if not CAN_FORK:
            return
        if VARIABLE not in os.environ:
            own_folder()
        self.folder = Path(os.environ[VARIABLE])
        self.address = str(self.folder / name)
        self.files = tempfile.mkdtemp(dir=self.folder)
        self.count = 0
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                with socket.socket(socket.AF_UNIX) as server:
                    server.connect(self.address)
            except (FileNotFoundError, ConnectionRefusedError):  # there is none, or it has died
                Path(self.address).unlink(missing_ok=True)
                with (self.folder / f"{name}.log").open("a") as log:
                    subprocess.run(  # returns when it is ready
                        [sys.executable, __file__, self.address],
                        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=log,
                        start_new_session=True,
                        check=True,
                    )

    def ask(self, timeout: float | None = None, **request: Any) -> Any:
        """The server's answer; asked again where it hung up: it starts no request twice."""
        end = time.monotonic() + PATIENCE
        while True:
            answer = ""
            with socket.socket(socket.AF_UNIX) as server, contextlib.suppress(*BUSY):
                server.settimeout(timeout)
                server.connect(self.address)
                server.sendall(json.dumps(request).encode() + b"\n")
                with server.makefile() as stream:
                    answer = stream.readline()
            if answer:
                return json.loads(answer)
            if time.monotonic() > end:
                raise ConnectionError(f"the server at {self.address} does not answer {request}")
            time.sleep(0.05)

    def start(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        program: Path | None = None,
        environment: Mapping[str, str] = {},  # noqa: B006  (never changed)
    ) -> Fork | subprocess.Popen[str]:
        """Start `twostream arguments`, or a Python file, as the leader of a session.

        `cwd` is a place for modules too, as in `PYTHONPATH=.`.
        """
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(cwd)]),
            **environment,
        }
        if not CAN_FORK:
            return subprocess.Popen(
                [sys.executable, *([str(program)] if program else ["-m", "twostream"]), *arguments],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        self.count += 1
        files = tuple(Path(self.files, f"{self.count}-{kind}") for kind in ("out", "err"))
        pid = self.ask(
            argv=[str(program or "twostream"), *arguments],
            cwd=str(cwd),
            environment=environment,
            files=[str(file) for file in files],
            program=program and str(program),
        )
        return Fork(self, pid, (files[0], files[1]))


def own_folder() -> IO[str]:
    """Make the folder of this run's servers; they end, and it goes, when this process has ended."""
    folder = tempfile.mkdtemp(prefix="twostream-forks-")
    os.environ[VARIABLE] = folder
    alive = Path(folder, "alive").open("w")  # noqa: SIM115  (open until the process ends)
    fcntl.flock(alive, fcntl.LOCK_EX)
    ALIVE.append(alive)
    util.Finalize(None, shutil.rmtree, [folder, True], exitpriority=-200)
    return alive


ALIVE: list[IO[str]] = []


def has_ended(folder: Path) -> bool:
    """Whether the process that made the folder is gone."""
    try:
        with (folder / "alive").open("w") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return True


def serve(address: Path) -> dict[str, Any] | None:
    """Answer requests to start and to look after processes; what to do, in a process started."""
    running: dict[int, list[socket.socket]] = {}  # and who waits for its end
    codes: dict[int, int] = {}
    started: dict[str, int] = {}  # by the file of its output, which no two share
    ended, end = os.pipe()
    os.set_blocking(end, False)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(64)
        if os.fork():
            os._exit(0)
        handler = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(end)
        while not has_ended(address.parent):
            ready, _, _ = select.select([listener, ended], [], [], 5)
            if ended in ready:
                os.read(ended, 1000)
                for pid in list(running):
                    if (status := os.waitpid(pid, os.WNOHANG))[0]:
                        codes[pid] = os.waitstatus_to_exitcode(status[1])
                        for waiting in running.pop(pid):
                            answer(waiting, codes[pid])
            if listener in ready:
                connection, _ = listener.accept()
                connection.settimeout(10)
                line = ""
                with contextlib.suppress(OSError), connection.makefile() as stream:
                    line = stream.readline()
                if not line.endswith("\n"):  # who asks is gone, or only looked whether we are here
                    connection.close()
                    continue
                request = json.loads(line)
                if "pid" not in request and request["files"][0] in started:
                    answer(connection, started[request["files"][0]])
                elif "pid" not in request:
                    begun, begin = os.pipe()
                    pid = os.fork()
                    if pid == 0:
                        signal.set_wakeup_fd(-1)
                        signal.signal(signal.SIGCHLD, handler)
                        os.setsid()
                        for waiting in [connection, *itertools.chain(*running.values())]:
                            waiting.close()
                        for handle in (begun, begin, ended, end):
                            os.close(handle)
                        return request
                    os.close(begin)
                    os.read(begun, 1)  # its maker may kill the group as soon as it is told of it
                    os.close(begun)
                    codes.pop(pid, None)  # of an earlier process of this number
                    running[pid] = []
                    started[request["files"][0]] = pid
                    answer(connection, pid)
                elif request["pid"] in running and request["wait"]:
                    running[request["pid"]].append(connection)
                else:
                    answer(connection, codes.get(request["pid"]))
    shutil.rmtree(address.parent, ignore_errors=True)
    return None


def answer(connection: socket.socket, value: int | None) -> None:
    """Tell who asks, unless it is gone."""
    with connection, contextlib.suppress(OSError):
        connection.sendall(json.dumps(value).encode() + b"\n")


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
    util.spawnv_passfds = fork_server
    code = 0
    try:
        if request["program"]:
            runpy.run_path(request["program"], run_name="__main__")
        else:
            runpy.run_module("twostream", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = int(bool(end.code)) if isinstance(end.code, str) else end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # to take apart each object of each module would take seconds


SPAWN = util.spawnv_passfds


def fork_server(path: bytes, arguments: Sequence[str], handles: Sequence[int]) -> int:
    """Start multiprocessing's fork server as `SPAWN` does, without importing everything anew."""
    code = arguments[-1]
    if "forkserver" not in code:
        return SPAWN(path, arguments, handles)
    pid = os.fork()
    if pid:
        return pid
    try:
        keep = sorted({0, 1, 2, *handles})
        for low, high in zip(keep, [*keep[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
            os.closerange(low + 1, high)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        forkserver._forkserver.__init__()  # type: ignore[attr-defined, misc]
        exec(code, {"__name__": "__main__"})
    finally:
        os._exit(0)


def import_all(name: str) -> None:
    """Import a module and, of a package of ours, all that is below it."""
    module = importlib.import_module(name)
    if ROOT.joinpath(*name.split(".")).is_dir():
        for below in pkgutil.walk_packages(module.__path__, f"{name}."):
            if not below.name.endswith("__main__"):
                importlib.import_module(below.name)


if __name__ == "__main__":
    socket_of_server = Path(sys.argv[1])
    for name in PRELOAD[socket_of_server.name]:
        import_all(name)
    import cv2

    cv2.setNumThreads(1)  # threads do not survive the fork
    gc.freeze()  # or else collections in the forks would copy all that is shared
    if task := serve(socket_of_server):
        become(task)
