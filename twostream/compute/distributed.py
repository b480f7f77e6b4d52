"""Distributed training and scoring by several processes, as `torchrun` starts them.

Without torchrun there is one process, rank 0, and nothing here does anything. The processes are
equal but for rank 0, which alone writes files that all share, and shows results.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from twostream_base.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

# How long to wait for a slow process. One that dies on the same machine is noticed at once.
TIMEOUT = timedelta(days=1)
# Each process says so often that it lives, and is lost when it has not for so long.
HEARTBEAT_SECONDS, LOST_SECONDS = 5.0, 45.0


# What the processes of one torchrun meet through; it outlives them.
_store: dist.Store | None = None
REMOVED = "removed"  # noted when the run that --restart replaces is gone


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the processes that torchrun started, for as long as the block lasts.

    They talk by NCCL where `device` is `cuda`, which then means GPU k in process k of a machine;
    on `cpu` by Gloo.

    Raises:
        InputError: the device cannot be shared, or has too few GPUs.
        ConnectionError: another process ended early. One that is lost without a trace ends this
            process: see `watched_peers`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if device not in ("cpu", "cuda"):
        raise InputError(
            f"--device {device} is one device, but torchrun started {os.environ['WORLD_SIZE']} "
            "processes. Give --device cuda (one GPU each) or --device cpu"
        )
    if device == "cuda":
        number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= gpus:
            raise InputError(
                f"torchrun started more processes than this machine has GPUs ({gpus}); "
                f"give --nproc-per-node {gpus}, or --device cpu"
            )
        torch.cuda.set_device(number)
    try:
        # Under `--max-restarts` the processes find each other through the same store again, where
        # the addresses of the dead still stand: each start writes under a prefix of its own.
        global _store
        store, number, count = next(dist.rendezvous("env://"))
        _store = store
        with _output_to_stderr():
            dist.init_process_group(
                "gloo" if device == "cpu" else "nccl",
                store=dist.PrefixStore(f"start{num_restarts()}", store),
                rank=number,
                world_size=count,
                timeout=TIMEOUT,
            )
        with watched_peers():
            yield
            dist.barrier()  # who ends first must not close the connections of the others
    except RuntimeError as error:
        # Gloo raises a bare RuntimeError from its transport; NCCL has a class of its own.
        if not (isinstance(error, dist.DistError) or "gloo/transport" in str(error)):
            raise
        raise ConnectionError(
            "another process of this run has ended; re-run the same command to resume"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def watched_peers() -> Iterator[None]:
    """End this process, with one line, when another has not given a sign of life for long.

    That of a machine without power or network: nobody closes its connections, and a GPU that waits
    for it in the middle of a sum cannot be interrupted.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # A connection of its own: the common one is taken while a process waits for another's answer.
    client = dist.TCPStore(address, port, is_master=False)
    store = dist.PrefixStore(f"alive{num_restarts()}", client)
    peers = set(range(world_size())) - {rank()}
    ended = threading.Event()

    def lost(who: str) -> None:
        sys.stderr.write(f"Error: {who} is lost; re-run the same command to resume\n")
        sys.stderr.flush()
        os._exit(1)

    def watch() -> None:
        seen = {peer: (b"", time.monotonic()) for peer in peers}
        beat = 0
        while not ended.is_set():
            try:
                store.set(str(rank()), str(beat := beat + 1))
                present = [peer for peer in peers if store.check([str(peer)])]
                beats = {peer: store.get(str(peer)) for peer in present}
            except RuntimeError:  # the machine that keeps the store, unless all is over
                if not ended.wait(HEARTBEAT_SECONDS):
                    lost(f"the machine of process 0 ({address})")
                return
            now = time.monotonic()
            seen |= {peer: (b, now) for peer, b in beats.items() if b != seen[peer][0]}
            for peer, (_, last) in seen.items():
                if now - last > LOST_SECONDS:
                    lost(f"process {peer}, silent for {LOST_SECONDS:g} s,")
            ended.wait(HEARTBEAT_SECONDS)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def _output_to_stderr() -> Iterator[None]:
    """Gloo of torch up to 2.10 tells on standard output that it is connected: not among results."""
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(output, 1)
        os.close(output)


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def num_restarts() -> int:
    """How often torchrun has started these processes again (`--max-restarts`)."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def note(key: str) -> None:
    """Remember something for as long as torchrun runs, over its restarts too; see `noted`."""
    if _store is not None:
        _store.set(f"twostream/{key}", "1")


def noted(key: str) -> bool:
    """Whether a process has called `note(key)` since torchrun was started."""
    return _store is not None and bool(_store.check([f"twostream/{key}"]))


def is_to_remove() -> bool:
    """Whether what --restart removes is still there: once in all starts by one torchrun.

    Processes that die before they have removed it are started again with the old run in place.
    """
    if not num_restarts():
        note("begun")
        return True
    # Who meets a new store, as after the loss of a machine, cannot know, and removes nothing.
    return broadcast_from_rank_0(lambda: noted("begun") and not noted(REMOVED))


def barrier() -> None:
    """Return when every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def broadcast_from_rank_0(decide: Callable[[], Result]) -> Result:
    """What `decide` returns to rank 0, which alone calls it; the others wait for it."""
    if not dist.is_initialized():
        return decide()
    answer: list[Result | None] = [decide() if rank() == 0 else None]
    dist.broadcast_object_list(answer)
    return answer[0]  # type: ignore[return-value]  # None only if that is what rank 0 decided


def shard(items: Sequence[Item]) -> Sequence[Item]:
    """This process's shard: every P-th item; the shards of all processes together are `items`."""
    return items[rank() :: world_size()]


def gather_in_order(share: list[Item]) -> list[Item]:
    """All items in their order, from the shard of each process (see `shard`)."""
    if not dist.is_initialized():
        return share
    shares: list[list[Item]] = [[] for _ in range(world_size())]
    dist.all_gather_object(shares, share)
    count = sum(map(len, shares))
    return [shares[number % world_size()][number // world_size()] for number in range(count)]


def data_parallel(
    network: nn.Module, rehearse: Callable[[nn.Module], None]
) -> DistributedDataParallel:
    """Wrap a network so that its gradients become the mean over all processes.

    Buffers stay each process's own: see `sum_over_processes`.

    Args:
        rehearse: runs a forward and a backward pass of its argument, the network or the wrapped
            one, as training does; few videos will do.
    """
    rehearse(network)
    unused = any(p.grad is None for p in network.parameters() if p.requires_grad)
    wrapped = DistributedDataParallel(
        network, broadcast_buffers=False, find_unused_parameters=unused
    )
    # After its first pass torch regroups the gradients that it sends. With that done, a resumed
    # run sums gradients in the order of an undisturbed one, and so ends with the same bits.
    rehearse(wrapped)
    network.zero_grad(set_to_none=True)
    return wrapped


@torch.no_grad()
def sum_over_processes(
    network: nn.Module, losses: Tensor, scores: Tensor, *, num_videos: int
) -> tuple[Tensor, Tensor]:
    """Put together what each process knows of a batch after a step on its share.

    The running statistics of batch normalisation become the mean over the shares, weighted by
    their videos (SyncBatchNorm's are equal already). So the networks of all processes stay equal
    to the last bit, and one of them is a checkpoint of all.

    Args:
        losses: that add up to the share's. scores: (n, classes) of the share. num_videos: N, of
            the batch.

    Returns:
        Sum of the losses (1,) and scores (N, classes) of the whole batch, on the device.
    """
    total = losses.double().sum(0, keepdim=True)
    every = torch.zeros(num_videos, scores.shape[1], device=scores.device)
    every[rank() :: world_size()] = scores
    summed = [every]
    for module in network.modules():
        shared = isinstance(module, nn.SyncBatchNorm)
        if isinstance(module, _BatchNorm) and module.training and not shared:
            statistics = (module.running_mean, module.running_var)
            summed += [s.mul_(len(scores) / num_videos) for s in statistics if s is not None]
    flat = torch.cat([tensor.reshape(-1) for tensor in summed])
    dist.all_reduce(total)
    dist.all_reduce(flat)
    for tensor, values in zip(summed, flat.split([t.numel() for t in summed]), strict=True):
        tensor.copy_(values.view(tensor.shape))
    return total, every
