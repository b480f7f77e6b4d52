import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flow_extract.store.locks import FOLDER, is_running, locked, remove_leftovers
from twostream_base.files import machine_id

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from pathlib import Path
from flow_extract.store.locks import locked
with locked(Path(sys.argv[1]), "class/v") as mine:
    print(mine, flush=True)
    time.sleep(100)
"""
# Adds one to a number in a file, as often as it can have the lock; the folder of locks comes and
# goes meanwhile.
COUNT = """
import sys
from pathlib import Path
from flow_extract.store.locks import locked, remove_leftovers
store = Path(sys.argv[1])
number, done = store / "number", 0
while done < 30:
    with locked(store, "class/v") as mine:
        if mine:
            number.write_text(str(int(number.read_text()) + 1))
            done += 1
    remove_leftovers(store)
"""


@pytest.fixture
def run(tmp_path):
    """Start a program in a process that lives until the end of the test."""
    started = []

    def start(program):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lock_files(store):
    return list((store / FOLDER).glob("*"))


def test_a_lock_goes_with_its_file_and_their_folder(tmp_path):
    with locked(tmp_path, "class/v") as mine:
        assert mine
        assert len(lock_files(tmp_path)) == 1
        remove_leftovers(tmp_path)
        assert len(lock_files(tmp_path)) == 1
    assert not lock_files(tmp_path)
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_goes_when_the_work_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path, "v"):
        _ = 1 / 0
    with locked(tmp_path, "v") as mine:
        assert mine


def test_only_one_holds_it_and_its_death_releases_it(tmp_path, run):
    other = run(HOLD)
    assert other.stdout.readline() == "True\n"
    with locked(tmp_path, "class/v") as mine:
        assert not mine
    with locked(tmp_path, "class/w") as mine:
        assert mine
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert len(lock_files(tmp_path)) == 1
    with locked(tmp_path, "class/v") as mine:
        assert mine
    assert not lock_files(tmp_path)


def test_the_file_of_a_killed_holder_is_removed(tmp_path, run):
    other = run(HOLD)
    other.stdout.readline()
    other.send_signal(signal.SIGKILL)
    other.wait()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_many_contenders_never_hold_it_together(tmp_path, run):
    (tmp_path / "number").write_text("0")
    contenders = [run(COUNT) for _ in range(3)]
    assert [process.wait() for process in contenders] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "90"


def test_no_store(tmp_path):
    with pytest.raises(FileNotFoundError), locked(tmp_path / "nowhere", "v"):
        pass


def test_leftovers_of_dead_runs_go_and_those_of_the_living_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = tmp_path / "class"
    here.mkdir()
    (tmp_path / ".locks").mkdir()
    machine = machine_id()
    gone = [
        here / f".part-{machine}-{os.getpid()}-0000aaaa",  # an hour old
        here / f".part-{machine}-{dead.pid}-0000bbbb",
        here / f".part-elsewhere-{os.getpid()}-0000cccc",  # an hour old
        tmp_path / ".locks" / "abandoned.lock",
    ]
    stay = [
        here / f".part-{machine}-{os.getpid()}-0000dddd",
        here / f".part-elsewhere-{dead.pid}-0000eeee",
        here / ".part-strange",
        here / "v.safetensors",
    ]
    for path in (*gone, *stay):
        path.touch()
    for path in (gone[0], gone[2]):
        os.utime(path, (0, 0))
    remove_leftovers(tmp_path)
    assert sorted(here.iterdir()) == sorted(stay)
    assert not (tmp_path / ".locks").exists()


def test_a_process_lives_until_it_ends():
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_running(os.getpid())
    if hasattr(os, "pidfd_open"):  # it has ended, and nobody has waited for it
        assert not is_running(process.pid)
    process.wait()
    assert not is_running(process.pid)
