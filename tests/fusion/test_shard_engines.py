from __future__ import annotations

import operator

import pytest

from fusion.shard_engines import on_dask, one_by_one


def test_results_come_in_the_order_of_the_jobs() -> None:
    assert list(one_by_one(abs, [-3, 1, -2])) == [3, 1, 2]
    assert list(on_dask(workers=2)(operator.neg, range(9))) == [0, -1, -2, -3, -4, -5, -6, -7, -8]


def test_an_error_of_a_job_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(on_dask(workers=1)(int, ["1", "x"]))
