"""What Windows and macOS lack, taken away on the system that is here."""

from __future__ import annotations

import ctypes
import errno
import io
import multiprocessing
import os
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flow_extract.extraction import executor
from flow_extract.store import locks
from flow_extract.video.find_videos import find_videos
from twostream import cli
from twostream_base import files
from twostream_base.errors import InputError
from twostream_base.files import atomic_folder, machine_id, names_are_one, path_inside, write_text
from twostream_base.tensor_file import FileType, TensorFile, write_tensor_file
from twostream_base.video_names import without_suffix

ROOT = Path(__file__).parents[1]
PACKAGES = ("twostream_base", "flow_extract", "fusion", "twostream")
# Not on Windows. `hasattr` asks first, or the file says why it runs on Linux alone.
UNIX_ALONE = re.compile(
    r"\b(?:os\.(?:O_CLOEXEC|O_DIRECTORY|O_DIRECT|O_NOFOLLOW|WNOHANG|chown|chroot|fchmod|fchown|fork"
    r"|getegid|geteuid|getgid|getgroups|getloadavg|getpgid|getpgrp|getpriority|getsid|getuid"
    r"|killpg|lchown|lockf|memfd_create|mkfifo|mknod|nice|openpty|pathconf|pidfd_open|pipe2"
    r"|posix_fadvise|posix_fallocate|posix_spawn|preadv?|pwritev?|readv|sched_[a-z]+|sendfile"
    r"|setpriority|setsid|statvfs|sysconf|ttyname|uname|wait[34]?|writev)"
    r"|signal\.(?:SIG(?:ALRM|BUS|CHLD|CONT|HUP|KILL|PIPE|QUIT|STOP|TSTP|USR1|USR2)|alarm|pause"
    r"|pthread_kill|pthread_sigmask|setitimer|siginterrupt|sigwait)"
    r"|select\.(?:epoll|kqueue|poll))\b"
    r"|^ *(?:import|from) (?:fcntl|grp|posix|pty|pwd|resource|syslog|termios)\b",
    re.MULTILINE,
)
KIND = FileType(name="test file", key="test", cure="write it again")


def test_what_windows_lacks_is_used_in_these_places_alone() -> None:
    texts = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    used = {where: sorted(set(UNIX_ALONE.findall(text))) for where, text in texts.items()}
    assert {where: names for where, names in used.items() if names} == {
        "flow_extract/extraction/executor.py": [
            "os.sched_getaffinity", "signal.SIGKILL", "signal.pthread_sigmask"
        ],
        "flow_extract/store/locks.py": ["os.pidfd_open"],
        "twostream/commands/option_files.py": ["os.geteuid"],
        "twostream/commands/run.py": ["os.getloadavg"],
        "twostream/data/loader.py": [
            "os.WNOHANG", "os.fork", "select.poll", "signal.SIGKILL", "signal.pthread_sigmask"
        ],
        "twostream_base/tensor_file.py": ["os.pread", "os.preadv"],
    }  # fmt: skip


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files behave as there: folders are not opened, what is open for reading is not synced."""
    open_, fsync, modes = os.open, os.fsync, dict[int, int]()

    def opened(path: os.PathLike[str], flags: int, *arguments: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        handle = open_(path, flags, *arguments)
        modes[handle] = flags
        return handle

    def synced(handle: int) -> None:
        if modes[handle] & (os.O_RDWR | os.O_WRONLY) == 0:
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(handle)

    for module in (files, locks):
        monkeypatch.setattr(module, "WINDOWS", True)
    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", synced)


@pytest.mark.usefixtures("on_windows")
def test_files_are_synced_and_folders_left_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "one\n")
    with atomic_folder(tmp_path / "last") as folder:
        (folder / "b.txt").write_text("two\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"one\n"
    assert os.listdir(tmp_path / "last") == ["b.txt"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_network_that_syncs_no_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fsync = os.fsync

    def synced(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").is_dir():
            raise OSError(code, os.strerror(code))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    if code == errno.EINVAL:
        write_text(tmp_path / "a.txt", "one\n")
    else:  # a disk that fails is no such network
        with pytest.raises(OSError, match=os.strerror(code)):
            write_text(tmp_path / "a.txt", "one\n")


@pytest.mark.parametrize("times", [2, 10**9])
def test_a_file_that_a_virus_scanner_has_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    replace, refused = os.replace, []

    def replaced(source: Path, target: Path) -> None:
        if len(refused) < times:
            refused.append(target)
            raise PermissionError(errno.EACCES, "Permission denied", str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(files, "REPLACE_SECONDS", 0.05)
    path = tmp_path / "a.txt"
    with pytest.raises(PermissionError):  # elsewhere it is what it says, at once
        write_text(path, "one\n")
    assert len(refused) == 1
    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(files, "_sync_folder", lambda path: None)
    if times == 2:
        write_text(path, "two\n")
        assert path.read_text() == "two\n"
    else:
        with pytest.raises(PermissionError):
            write_text(path, "two\n")
    assert [file for file in os.listdir(tmp_path) if file != "a.txt"] == []


def test_a_tensor_file_is_read_where_nothing_reads_at_a_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    rng = np.random.default_rng(0)
    arrays = {key: rng.integers(0, 256, 3 * 10**5, np.uint8) for key in "ab"}
    write_tensor_file(path, KIND, {}, arrays)
    monkeypatch.delattr(os, "pread")
    monkeypatch.delattr(os, "preadv")
    with TensorFile(path, KIND) as file, ThreadPoolExecutor(4) as pool:
        for key, array in arrays.items():
            assert (file.read(key) == array).all()
            file.verify(key)
        parts = list(range(0, 3 * 10**5, 1000))
        read = list(pool.map(lambda begin: file.read_bytes("b", begin, begin + 1000), parts))
        assert b"".join(read) == arrays["b"].tobytes()  # threads that share the file take turns


@pytest.mark.parametrize(
    "name",
    ["a/b:c", "a\\b", "C:/video", "what?", "con", "x/NUL.5s", "lpt1", "trailing.", "x /y", "a|b"],
)
def test_names_that_windows_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert path_inside(tmp_path, name) == tmp_path / name
    monkeypatch.setattr(files, "WINDOWS", True)
    with pytest.raises(InputError, match="Windows.*rename"):
        path_inside(tmp_path, name)
    assert path_inside(tmp_path, "console/v_com.10").name == "v_com.10"


@pytest.mark.parametrize("names", [("a/V.avi", "a/v.mp4"), ("Cafe\u0301.avi", "CAF\u00c9.avi")])
def test_videos_whose_names_differ_in_case_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    root = tmp_path / "videos"
    for name in (*names, "other.avi"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    assert len(find_videos(root, store=tmp_path / "store").videos) == 3
    monkeypatch.setattr(files, "WINDOWS", True)
    found = find_videos(root, store=tmp_path / "store")
    assert list(found.videos) == ["other"]
    assert list(found.refused) == sorted(without_suffix(name) for name in names)
    for reason in found.refused.values():
        assert "one file of the store" in reason
        assert "rename" in reason


def test_a_folder_is_asked_whether_case_matters_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "123").mkdir()
    nearest = tmp_path / "123" / "Store"
    assert names_are_one(nearest)("A") == "A"
    (tmp_path / "link").touch()
    os.link(tmp_path / "link", tmp_path / "LINK")  # two names of one file, as macOS has of each
    assert names_are_one(tmp_path / "link" / "45")("A") == "a"


def test_jobs_run_in_spawned_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    monkeypatch.delattr(signal, "pthread_sigmask")
    monkeypatch.setattr("multiprocessing.resource_tracker._HAVE_SIGMASK", False)
    monkeypatch.delattr(os, "pidfd_open")
    jobs = [
        "1 + 1",
        "1 / 0",
        "__import__('os')._exit(3)",
        "__import__('os').environ['OMP_NUM_THREADS']",
    ]
    outcomes = dict(executor.run_jobs(eval, jobs, workers=2, timeout=60.0))
    assert [(outcomes[job].status, outcomes[job].value) for job in jobs] == [
        ("returned", 2), ("raised", None), ("crashed", None), ("returned", "1")
    ]  # fmt: skip
    assert multiprocessing.active_children() == []


def test_macos_forks_none_of_its_frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert executor.has_fork_server()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not executor.has_fork_server()


def test_cores_without_an_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert executor.available_cores() == os.cpu_count()


@pytest.mark.parametrize(
    ("handle", "error", "waited", "runs"),
    [(7, 0, 0x102, True), (7, 0, 0, False), (0, 5, 0, True), (0, 87, 0, False)],
)
def test_processes_of_windows_are_asked_and_not_ended(
    monkeypatch: pytest.MonkeyPatch, handle: int, error: int, waited: int, runs: bool
) -> None:
    closed: list[int] = []
    kernel = SimpleNamespace(
        OpenProcess=lambda access, inherit, pid: handle,
        GetLastError=lambda: error,
        WaitForSingleObject=lambda handle, milliseconds: waited,
        CloseHandle=closed.append,
    )
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    monkeypatch.setattr(locks, "WINDOWS", True)
    monkeypatch.delattr(os, "kill")
    assert locks.is_running(1234) is runs
    assert closed == [handle] * bool(handle)


def test_a_lock_whose_file_cannot_be_removed_while_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        for _ in range(2):  # it is released all the same
            with locks.locked(tmp_path, "a") as mine:
                assert mine
    locks.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("lacking", ["boot_id", "pid"])
def test_machines_of_one_name_differ_without_proc(
    monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    read_text = Path.read_text

    def read(path: Path, encoding: str | None = None) -> str:
        if path.name == "boot_id":
            raise FileNotFoundError(path)
        return read_text(path, encoding=encoding)

    if lacking == "boot_id":
        monkeypatch.setattr(Path, "read_text", read)
    else:
        monkeypatch.delattr(os, "readlink")
    addresses = iter((1, 1, 2))
    monkeypatch.setattr("uuid.getnode", lambda: next(addresses))
    same, again, other = (machine_id.__wrapped__() for _ in range(3))
    assert same == again != other


def test_output_that_the_pipe_has_no_letters_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding="cp1252"))
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(cli, "cli", lambda prog_name: print("k\u00e4se \u4e03", flush=True))
    cli.main()
    assert pipe.getvalue() == b"k\xe4se \\u4e03\n"
