"""The jobs are expressions for `eval`, which every process knows."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import pytest

from flow_extract.extraction import executor
from flow_extract.extraction.executor import PRELOAD, Outcome, available_cores, run_jobs

KILL = "__import__('os').kill(__import__('os').getpid(), 9)"
SLEEP = "__import__('time').sleep(100)"
EXIT = "__import__('os')._exit(3)"


def run(jobs, *, workers=2, timeout=60.0):
    return dict(run_jobs(eval, jobs, workers=workers, timeout=timeout))


def note_pid(folder: Path) -> str:
    """A job that leaves a file named like its process."""
    return f"open({str(folder)!r} + '/' + str(__import__('os').getpid()), 'w').close()"


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends as we read
        return False


def wait_until_gone(pids, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(map(is_running, pids)):
        time.sleep(0.02)
    return not any(map(is_running, pids))


def test_all_values_come_back():
    outcomes = run([f"{n} * {n}" for n in range(20)])
    assert {job: outcome.value for job, outcome in outcomes.items()} == {
        f"{n} * {n}": n * n for n in range(20)
    }
    assert {outcome.status for outcome in outcomes.values()} == {"returned"}


@pytest.mark.parametrize(
    ("job", "status", "reason"),
    [
        ("1 / 0", "raised", "ZeroDivisionError: division by zero"),
        (KILL, "crashed", "signal 9 (SIGKILL)"),
        (EXIT, "crashed", "exit code 3"),
        ("lambda: 0", "crashed", "exit code 1"),  # an answer that cannot be sent
    ],
)
def test_bad_job_costs_only_itself(job, status, reason, capfd):
    jobs = [str(n) for n in range(20)]
    outcomes = run([*jobs[:7], job, *jobs[7:]])
    assert (outcomes[job].status, outcomes[job].reason) == (status, reason)
    assert [outcomes[n].value for n in jobs] == list(range(20))


def test_a_killed_fork_server_costs_what_it_had_started_at_most():
    begun = run_jobs(
        eval, [f"__import__('time').sleep(0.05) or {n}" for n in range(8)], workers=2, timeout=60.0
    )
    next(begun)
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    outcomes = [outcome for _, outcome in begun]
    assert len(outcomes) == 7
    assert {outcome.status for outcome in outcomes} <= {"returned", "crashed"}
    assert sum(outcome.status == "crashed" for outcome in outcomes) <= 2


def test_a_fork_server_that_is_killed_again_and_again_ends_in_one_line(monkeypatch):
    def dies(process):
        raise EOFError("unexpected EOF")

    monkeypatch.setattr(multiprocessing.context.ForkServerProcess, "start", dies)
    with pytest.raises(OSError, match="starts the workers was killed.*re-run the same command"):
        list(run_jobs(eval, ["1"], workers=1, timeout=60.0))


PID = "__import__('os').getpid()"


def run_lasting(jobs, *, workers=1, timeout=60.0):
    return list(run_jobs(eval, jobs, workers=workers, timeout=timeout, lasting=True))


def test_a_lasting_process_does_many_jobs_until_it_dies():
    jobs = [PID, f"{PID} + 0", "1 / 0", f"0 + {PID}", EXIT, f"{PID} + 0 + 0", "7"]
    outcomes = [outcome for _, outcome in run_lasting(jobs)]
    first, second, raised, third, crashed, fourth, seven = outcomes
    assert first.value == second.value
    assert len({first.value, third.value, fourth.value}) == 3  # what raises may be broken
    assert (raised.status, raised.reason) == ("raised", "ZeroDivisionError: division by zero")
    assert (crashed.status, crashed.reason) == ("crashed", "exit code 3")
    assert seven.value == 7
    assert wait_until_gone([first.value, third.value, fourth.value])


def test_a_job_that_cannot_be_sent_leaves_no_process():
    outcomes = run_jobs(eval, [PID, lambda: 0], workers=1, timeout=60.0, lasting=True)
    _, first = next(outcomes)
    with pytest.raises(Exception, match="pickle") as raised:
        next(outcomes)
    assert not is_running(first.value), raised  # which has what the last reference would keep open


@pytest.fixture
def time_passes_after(monkeypatch):
    """`conclude` for `run_jobs`: no time passes before `count` jobs have ended, then a lot does."""
    ended = []

    def noted(count):
        clock = SimpleNamespace(monotonic=lambda: 1e9 * (len(ended) >= count), sleep=time.sleep)
        monkeypatch.setattr(executor, "time", clock)
        return lambda job, outcome: ended.append(job) or outcome

    return noted


@pytest.mark.parametrize("lasting", [True, False])
def test_a_job_that_hangs_is_ended_at_its_time_and_costs_only_itself(time_passes_after, lasting):
    conclude = time_passes_after(6)
    outcomes = dict(
        run_jobs(
            eval, [SLEEP, *"123456"], workers=2, timeout=60.0, conclude=conclude, lasting=lasting
        )
    )
    assert [outcomes[n].value for n in "123456"] == [1, 2, 3, 4, 5, 6]
    assert (outcomes[SLEEP].status, outcomes[SLEEP].reason) == ("timeout", "no progress for 60 s")


def test_a_lasting_process_that_hangs_is_replaced():
    outcomes = run_lasting([PID, SLEEP, PID + " + 0"], timeout=6.0)
    first, hanging, last = (outcome for _, outcome in outcomes)
    assert (hanging.status, hanging.reason) == ("timeout", "no progress for 6 s")
    assert first.value != last.value
    assert wait_until_gone([first.value, last.value])


@pytest.mark.parametrize("lasting", [True, False])
def test_a_job_that_makes_progress_has_all_the_time_it_needs(tmp_path, monkeypatch, lasting):
    """A sound video of two hours does not hang. Each file in the folder is 40 s of the clock."""
    clock = SimpleNamespace(
        monotonic=lambda: 40.0 * len(list(tmp_path.iterdir())), sleep=time.sleep
    )
    monkeypatch.setattr(executor, "time", clock)
    job = (
        "(heartbeat := __import__('twostream_base.heartbeat', fromlist=['beat']),"
        " setattr(heartbeat, 'INTERVAL', 0),"
        f" [open({str(tmp_path)!r} + f'/{{n}}', 'w').close() or heartbeat.beat()"
        " for n in range(9)]) and 7"
    )
    ((_, outcome),) = run_jobs(eval, [job], workers=1, timeout=60.0, lasting=lasting)
    assert outcome == Outcome("returned", 7)
    assert clock.monotonic() == 360.0


def test_large_answers_do_not_block():
    outcomes = run(["'x' * 5_000_000", "'y' * 5_000_000"])
    assert sorted(len(outcome.value) for outcome in outcomes.values()) == [5_000_000] * 2


def test_never_more_workers_than_allowed(tmp_path):
    job = (
        f"({note_pid(tmp_path)}, "
        f"len(__import__('os').listdir({str(tmp_path)!r})), __import__('time').sleep(0.1), "
        f"__import__('os').remove({str(tmp_path)!r} + '/' + str(__import__('os').getpid())))[1]"
    )
    jobs = [f"{job} + 0 * {n}" for n in range(10)]
    assert max(outcome.value for outcome in run(jobs, workers=3).values()) <= 3


def test_no_jobs():
    assert run([]) == {}


def test_closing_the_generator_ends_running_jobs(tmp_path):
    wait_for_it = f"list(iter(lambda: len(__import__('os').listdir({str(tmp_path)!r})), 1))"
    outcomes = run_jobs(
        eval, [f"({note_pid(tmp_path)}, {SLEEP})", wait_for_it], workers=2, timeout=60
    )
    assert next(outcomes)[0] == wait_for_it
    outcomes.close()
    assert not any(is_running(int(path.name)) for path in tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_jobs_do_not_outlive_a_killed_parent(tmp_path, how):
    jobs = [f"({note_pid(tmp_path)}, {SLEEP}, {n})" for n in range(2)]
    program = (
        "from flow_extract.extraction.executor import run_jobs\n"
        f"list(run_jobs(eval, {jobs!r}, workers=2, timeout=60))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL
    ) as parent:
        while len(pids := [int(path.name) for path in tmp_path.iterdir()]) < 2:
            time.sleep(0.02)
        parent.send_signal(how)
    assert wait_until_gone(pids)


def shout(job, outcome):
    return f"{job}: {outcome.status}!"


def test_outcomes_are_concluded_here():
    jobs = ["1", KILL]
    ended = dict(run_jobs(eval, jobs, workers=2, timeout=60, conclude=shout))
    assert ended == {"1": "1: returned!", KILL: f"{KILL}: crashed!"}


@contextmanager
def only_short(job):
    """Long jobs are not started; who holds what is written down."""
    HELD.append(job)
    yield "long" if len(job) > 1 else None
    HELD.remove(job)


HELD: list[str] = []


def hold_noted(job, outcome):
    return sorted(HELD)


def test_a_job_is_claimed_until_it_is_concluded():
    jobs = run_jobs(
        eval, ["1", "22", "3"], workers=1, timeout=60, claim=only_short, conclude=hold_noted
    )
    ended = dict(jobs)
    assert ended == {"1": ["1"], "22": "long", "3": ["3"]}
    assert HELD == []


def test_a_job_has_one_thread_inside_and_the_caller_keeps_its_environment():
    before = dict(os.environ)
    (outcome,) = run(["__import__('os').environ['OMP_NUM_THREADS']"]).values()
    assert outcome.value == "1"
    assert dict(os.environ) == before


def test_available_cores():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_what_is_preloaded_is_all_that_a_job_imports():
    """Else each process of a run would import it again: tens of milliseconds a video."""
    program = (
        f"import importlib, sys\nfor name in {PRELOAD}: importlib.import_module(name)\n"
        "print({'flow_extract.extraction.executor', 'flow_extract.extraction.one_video', 'cv2'}"
        " - set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_processes_import_nothing_from_the_current_folder(tmp_path):
    """Python itself looks there first for the modules by which it starts them."""
    for module in ("struct", "signal", "socket", "pickle"):
        (tmp_path / f"{module}.py").write_text(f"open({module!r} + '.ran', 'w')\n")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "from flow_extract.extraction.executor import run_jobs\n"
        "if __name__ == '__main__':\n"
        "    print(list(run_jobs(abs, [-1], workers=1, timeout=60, preload=())))\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert "value=1" in done.stdout, done.stderr
    assert list(tmp_path.glob("*.ran")) == []
