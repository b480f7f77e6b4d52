from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from twostream.compute.distributed import (
    barrier,
    broadcast_from_rank_0,
    gather_in_order,
    process_group,
    rank,
    world_size,
)
from twostream_base.errors import InputError

TwoProcesses = Callable[..., subprocess.CompletedProcess[str]]


def test_without_torchrun_there_is_one_process() -> None:
    with process_group("mps"):
        assert (rank(), world_size()) == (0, 1)
        barrier()
        assert broadcast_from_rank_0(lambda: "here") == "here"
        assert gather_in_order([1, 2]) == [1, 2]


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda:1", "--device cuda:1 is one device, but torchrun started 2 processes"),
        ("mps", "--device mps is one device"),
        ("cuda", r"more processes than this machine has GPUs \(1\); give --nproc-per-node 1"),
    ],
)
def test_a_device_that_cannot_be_shared(
    monkeypatch: pytest.MonkeyPatch, device: str, message: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(InputError, match=message), process_group(device):
        pass


def test_two_processes_agree(two_processes: TwoProcesses) -> None:
    done = two_processes("""
import sys
from twostream.compute.distributed import *
with process_group("cpu"):
    me = rank()
    answer = broadcast_from_rank_0(lambda: {"decided by": me})
    barrier()
    merged = gather_in_order(shard(list(range(5))))
    sys.stdout.write(f"{me} of {world_size()}: {answer} {merged}\\n")
""")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "0 of 2: {'decided by': 0} [0, 1, 2, 3, 4]",
        "1 of 2: {'decided by': 0} [0, 1, 2, 3, 4]",
    ]


def test_a_silent_process_is_lost(two_processes: TwoProcesses) -> None:
    """As one without power or network: nothing closes its connection; the other cannot wake up."""
    done = two_processes("""
import os, time
from twostream.compute import distributed
distributed.LOST_SECONDS = 1.0
distributed.HEARTBEAT_SECONDS = 0.2 if os.environ["RANK"] == "0" else 1000.0
with distributed.process_group("cpu"):
    time.sleep(1000)
""")
    assert done.returncode == 1
    assert "Error: process 1, silent for 1 s, is lost; re-run the same command" in done.stderr


def test_a_lost_process_is_told_in_one_line(two_processes: TwoProcesses) -> None:
    """Rank 0 is deaf to the signal of torchrun, so that it meets the closed connection."""
    done = two_processes("""
import os, signal, sys
from twostream.compute.distributed import *
signal.signal(signal.SIGTERM, signal.SIG_IGN)
try:
    with process_group("cpu"):
        if rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        barrier()
except ConnectionError as error:
    sys.stdout.write(str(error))
""")
    assert done.returncode == 1
    assert done.stdout == "another process of this run has ended; re-run the same command to resume"
