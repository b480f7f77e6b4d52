"""A cluster of this machine; `tests/faults/kill_dask_worker.py` uses one that runs already."""

import logging
import os
import sys

import pytest

from flow_extract.extraction import dask_engine
from flow_extract.extraction.executor import Outcome
from twostream_base.errors import InputError

KILL = "__import__('os').kill(__import__('os').getpid(), 9)"
SLEEP = "__import__('time').sleep(100)"


def end_worker(job, outcome):
    """Called in the Dask worker itself, which dies of one job."""
    if job == "deadly" and outcome.status == "raised":
        os._exit(1)
    return outcome


def test_same_outcomes_as_without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="needs dask[distributed]")
    monkeypatch.setattr(dask_engine, "ALLOWED_DEATHS", 1)
    jobs = [*map(str, range(10)), "1 / 0", KILL, SLEEP, "deadly"]
    ended = dict(
        dask_engine.run_jobs_on_dask(eval, jobs, workers=2, timeout=6, conclude=end_worker)
    )
    assert {job: ended[job].value for job in jobs[:10]} == {str(n): n for n in range(10)}
    assert ended["1 / 0"] == Outcome("raised", reason="ZeroDivisionError: division by zero")
    assert ended[KILL] == Outcome("crashed", reason="signal 9 (SIGKILL)")
    assert ended[SLEEP] == Outcome("timeout", reason="no progress for 6 s")
    assert ended["deadly"].status == "lost"
    # A scheduler's end is one line of ours, without its client's tracebacks.
    assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_no_scheduler(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    pytest.importorskip("distributed", reason="needs dask[distributed]")
    monkeypatch.setattr(dask_engine, "CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(InputError, match=f"no Dask scheduler answers at '{address}'"),
        dask_engine.connected(1, address),
    ):
        pass


def test_without_dask_its_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(InputError, match=r"pip install 'dask\[distributed\]'"),
        dask_engine.connected(1, None),
    ):
        pass
