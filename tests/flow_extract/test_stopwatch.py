import itertools

import pytest

from flow_extract import stopwatch
from flow_extract.stopwatch import Stopwatch


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that goes on by one second whenever somebody looks."""
    monkeypatch.setattr(stopwatch.time, "perf_counter", itertools.count().__next__)


def test_seconds_of_each_part():
    watch = Stopwatch()
    double = watch.calling("flow", lambda x: 2 * x)
    made = [double(item) for item in watch.iterating("decode", [1, 2])]
    assert made == [2, 4]
    # Two items and finding the end; two calls.
    assert watch.seconds() == {"decode": 3.0, "flow": 2.0}


def test_what_fails_counts_and_is_passed_on():
    watch = Stopwatch()
    with pytest.raises(ZeroDivisionError):
        watch.calling("flow", lambda x: x / 0)(1)
    assert watch.seconds() == {"flow": 1.0}
