"""Work itself is tested where it is given out: flow_extract/dask_engine, fusion/shard_engines."""

from __future__ import annotations

import sys

import pytest

from twostream_base import cluster
from twostream_base.errors import InputError


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_no_scheduler(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    pytest.importorskip("distributed", reason="needs dask[distributed]")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(InputError, match=f"no Dask scheduler answers at '{address}'"),
        cluster.connected(1, address),
    ):
        pass


def test_without_dask_its_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(InputError, match=r"pip install 'dask\[distributed\]'"),
        cluster.connected(1, None),
    ):
        pass
