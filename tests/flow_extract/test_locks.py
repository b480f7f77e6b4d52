import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flow_extract import locks
from flow_extract.locks import is_running, lock_path, locked, remove_if_abandoned

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from flow_extract.locks import locked
with locked(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(100)
"""
# Adds one to a number in a file, as often as it can have the lock.
COUNT = """
import sys, time
from pathlib import Path
from flow_extract.locks import locked
lock, number = map(Path, sys.argv[1:])
done = 0
while done < 100:
    with locked(lock) as mine:
        if mine:
            number.write_text(str(int(number.read_text()) + 1))
            done += 1
"""


@pytest.fixture
def path(tmp_path):
    return lock_path(tmp_path, "class/v")


@pytest.fixture
def run():
    """Start a program in a process that lives until the end of the test."""
    started = []

    def start(program, *arguments):
        command = [sys.executable, "-c", program, *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def holder(path):
    return json.loads(path.read_text())


def rewrite(path, **changes):
    path.write_text(json.dumps(holder(path) | changes))


def test_lock_says_who_holds_it_and_goes(path, tmp_path):
    assert path == tmp_path / "class" / "v.lock"
    with locked(path) as mine:
        assert mine
        assert holder(path)["process"][0] == holder(path)["run"][0] == os.getpid()
        assert path.stat().st_size == locks.LENGTH
    assert not path.exists()


def test_lock_goes_when_the_work_fails(path):
    with pytest.raises(ZeroDivisionError), locked(path):
        _ = 1 / 0
    assert not path.exists()


def test_only_one_holds_it(path, run):
    other = run(HOLD, path)
    assert other.stdout.readline() == "True\n"
    with locked(path) as mine:
        assert not mine
    remove_if_abandoned(path)
    assert holder(path)["process"][0] == other.pid


def test_lock_of_a_killed_process_is_taken_over(path, run):
    other = run(HOLD, path)
    other.stdout.readline()
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert path.exists()
    with locked(path) as mine:
        assert mine
        assert holder(path)["process"][0] == os.getpid()
    assert not path.exists()


def test_run_of_a_dead_process_keeps_its_lock(path, run):
    """Its run is about to record the death: nobody else begins the video meanwhile."""
    other = run(HOLD, path)
    other.stdout.readline()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    rewrite(path, process=[dead.pid, "1"])
    with locked(path) as mine:
        assert not mine
    rewrite(path, run=[os.getpid(), locks._start_time(os.getpid())])
    with locked(path) as mine:
        assert mine


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="start times are read from /proc")
def test_another_process_of_the_same_id_is_not_the_holder(path):
    with locked(path):
        rewrite(path, process=[os.getpid(), "1"], run=[os.getpid(), "1"])
        with locked(path) as mine:
            assert mine


@pytest.mark.parametrize(("silence", "taken"), [(100, False), (200, True)])
def test_lock_of_another_machine_lives_as_long_as_it_is_touched(path, silence, taken):
    with locked(path):
        rewrite(path, machine="elsewhere")
        then = time.time() - silence
        os.utime(path, (then, then))
        with locked(path) as mine:
            assert mine == taken


@pytest.mark.parametrize("content", ["", "[]", "{", '{"host": "a"}'])
def test_lock_without_content_belongs_to_its_maker_for_a_moment(path, content):
    path.parent.mkdir()
    path.write_text(content)
    with locked(path) as mine:
        assert not mine
    os.utime(path, (0, 0))
    with locked(path) as mine:
        assert mine


def test_holder_touches_its_lock(path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.01)
    with locked(path):
        os.utime(path, (0, 0))
        end = time.monotonic() + 5
        while path.stat().st_mtime == 0 and time.monotonic() < end:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 5


def test_lock_taken_over_from_a_sleeping_machine_is_not_removed_by_it(path):
    with locked(path):
        rewrite(path, machine="elsewhere")
    assert path.exists()


def test_many_contenders_never_hold_it_together(path, tmp_path, run):
    number = tmp_path / "number"
    number.write_text("0")
    contenders = [run(COUNT, path, number) for _ in range(3)]
    assert [process.wait() for process in contenders] == [0, 0, 0]
    assert number.read_text() == "300"


def test_abandoned_lock_is_removed(path):
    path.parent.mkdir()
    path.touch()
    os.utime(path, (0, 0))
    remove_if_abandoned(path)
    assert not path.exists()
    remove_if_abandoned(path)


def test_is_running():
    process = subprocess.Popen([sys.executable, "-c", ""])
    assert is_running(os.getpid())
    process.wait()
    assert not is_running(process.pid)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_a_dead_process_that_nobody_has_buried_is_dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(process.pid)
    process.wait()
