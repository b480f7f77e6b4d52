"""A cluster of this machine; `tests/faults/kill_dask_worker.py` uses one that runs already."""

import pytest

from flow_extract.extraction import dask_engine
from flow_extract.extraction.executor import Outcome

KILL = "__import__('os').kill(__import__('os').getpid(), 9)"
SLEEP = "__import__('time').sleep(100)"


def test_same_outcomes_as_without_a_cluster():
    pytest.importorskip("distributed", reason="needs dask[distributed]")
    jobs = [*map(str, range(10)), "1 / 0", KILL, SLEEP]
    ended = dict(dask_engine.run_jobs_on_dask(eval, jobs, workers=2, timeout=3))
    assert {job: ended[job].value for job in jobs[:10]} == {str(n): n for n in range(10)}
    assert ended["1 / 0"] == Outcome("raised", reason="ZeroDivisionError: division by zero")
    assert ended[KILL] == Outcome("crashed", reason="signal 9 (SIGKILL)")
    assert ended[SLEEP] == Outcome("timeout", reason="after 3 s")


def end_worker(job, outcome):
    """Called in the Dask worker itself."""
    if job == "deadly" and outcome.status == "raised":
        import os

        os._exit(1)
    return outcome.status


def test_job_that_kills_each_dask_worker_is_given_up():
    pytest.importorskip("distributed", reason="needs dask[distributed]")
    jobs = ["1", "deadly", "2", "3"]
    ended = dask_engine.run_jobs_on_dask(eval, jobs, workers=2, timeout=60, conclude=end_worker)
    assert dict(ended) == {"1": "returned", "2": "returned", "3": "returned", "deadly": "lost"}
