"""Several processes at one job, as `torchrun` starts them: who we are, and what we share.

Without torchrun there is one process, rank 0, and nothing here does anything. The processes are
equal but for rank 0, which alone writes files that all share, and shows results.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from twostream.errors import InputError

Result = TypeVar("Result")

# Only how long to wait for a slow process: a lost one is noticed at once, by its connection.
PATIENCE = timedelta(days=1)


@contextmanager
def joined_processes(device: str) -> Iterator[str]:
    """Join the processes that torchrun started; yield the device of this one.

    They talk by NCCL where `device` is `cuda`, and rank k of a machine gets GPU k; else by Gloo.

    Raises:
        InputError: the device cannot be shared, or has too few GPUs.
        ConnectionError: another process ended early.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    own = _device_of_this_process(device)
    if own != "cpu":
        torch.cuda.set_device(own)
    try:
        dist.init_process_group("gloo" if own == "cpu" else "nccl", timeout=PATIENCE)
        yield own
        dist.barrier()  # who ends first must not close the connections of the others
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise ConnectionError(
            "another process of this run has ended; the same command again goes on"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def num_ranks() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wait_for_all() -> None:
    """Return when every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def decided_by_first(decide: Callable[[], Result]) -> Result:
    """What `decide` returns to rank 0, which alone calls it; the others wait for it."""
    if not dist.is_initialized():
        return decide()
    answer: list[Result | None] = [decide() if rank() == 0 else None]
    dist.broadcast_object_list(answer)
    return answer[0]  # type: ignore[return-value]  # None only if that is what rank 0 decided


def _device_of_this_process(device: str) -> str:
    if device == "cpu":
        return device
    if device != "cuda":
        raise InputError(
            f"--device {device} is one device, but torchrun started {os.environ['WORLD_SIZE']} "
            "processes. Give --device cuda (one GPU each) or --device cpu"
        )
    number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= gpus:
        raise InputError(
            f"torchrun started more processes than this machine has GPUs ({gpus}); "
            f"give --nproc-per-node {gpus}, or --device cpu"
        )
    return f"cuda:{number}"


def _is_lost_connection(error: RuntimeError) -> bool:
    """Gloo raises a bare RuntimeError from its transport; NCCL has a class of its own."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)
