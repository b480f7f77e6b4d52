"""One step by several processes: each learns from a share of the batch, all take the same step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from twostream.training.distributed import num_ranks, rank
from twostream.training.shared_batch_norm import SharedBatchNorm
from twostream.training.step import NotFiniteError

Gradient = Callable[[Tensor, Tensor, int], tuple[float, Tensor]]


def share_gradient(
    gradient: Gradient, network: nn.Module, clips: Tensor, target: Tensor
) -> tuple[float, Tensor]:
    """Set the gradient of the whole batch's mean loss, the same in every process.

    A share counts by its number of videos, so shares may differ in size. Batch normalisation takes
    the statistics of the share, and its running ones become the mean over the shares; a
    SharedBatchNorm has those of the batch already. So the networks stay equal to the last bit, and
    one of them is a checkpoint of all.

    DistributedDataParallel would send gradients while others are still computed; but it wants as
    many backward passes from each process, of as many videos, and keeps one process's statistics.

    Args:
        gradient: clips, labels (n,) and N -> the sum of the losses and scores (n, classes); it
            sets their part of the gradient of the mean loss of all N in `network`.
        clips: of this process's share. target: labels (N,) of the whole batch.

    Returns:
        Sum of the losses and scores (N, classes) of the whole batch.

    Raises:
        NotFiniteError: in all processes, when the loss of one is not finite.
    """
    mine = slice(rank(), None, num_ranks())
    loss, scores = math.nan, torch.empty(0)
    with suppress(NotFiniteError):  # it is raised below, where every process learns of it
        loss, scores = gradient(clips, target[mine], len(target))
    device = next(network.parameters()).device
    total = torch.tensor(loss, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    if not torch.isfinite(total):
        raise NotFiniteError(f"the loss is {total.item()}")
    every = torch.zeros(len(target), scores.shape[1], device=device)
    every[mine] = scores.to(device)
    _sum_in_place(
        [every, *_gradients(network), *_statistics(network, weight=len(scores) / len(target))]
    )
    return total.item(), every.cpu()


def _gradients(network: nn.Module) -> Iterator[Tensor]:
    for parameter in network.parameters():
        if parameter.grad is not None:
            yield parameter.grad


def _statistics(network: nn.Module, *, weight: float) -> Iterator[Tensor]:
    """Multiply the running statistics that differ between processes by `weight`; yield them."""
    for module in network.modules():
        shared = isinstance(module, SharedBatchNorm)
        if isinstance(module, _BatchNorm) and module.training and not shared:
            for statistic in (module.running_mean, module.running_var):
                if statistic is not None:
                    yield statistic.mul_(weight)


@torch.no_grad()
def _sum_in_place(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, with one message."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, summed in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(summed.view(tensor.shape))
