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
from twostream.training.step import NotFiniteError

Gradient = Callable[[Tensor, Tensor], tuple[float, Tensor]]


def share_gradient(
    gradient: Gradient, network: nn.Module, clips: Tensor, target: Tensor
) -> tuple[float, Tensor]:
    """Set the gradient of the whole batch's mean loss, the same in every process.

    A share counts by its number of videos, so shares may differ in size. Batch normalisation takes
    the statistics of the share; its running ones become the mean over the shares. So the networks
    stay equal to the last bit, and one of them is a checkpoint of all.

    DistributedDataParallel would send gradients while others are still computed; but it wants as
    many backward passes from each process, of as many videos, and keeps one process's statistics.

    Args:
        gradient: clips and labels (n,) -> the sum of the losses and scores (n, classes); it sets
            the gradient of their mean loss in `network`.
        clips: of this process's share. target: labels (N,) of the whole batch.

    Returns:
        Sum of the losses and scores (N, classes) of the whole batch.

    Raises:
        NotFiniteError: in all processes, when the loss of one is not finite.
    """
    mine = slice(rank(), None, num_ranks())
    loss, scores = math.nan, torch.empty(0)
    with suppress(NotFiniteError):  # it is raised below, where every process learns of it
        loss, scores = gradient(clips, target[mine])
    device = next(network.parameters()).device
    total = torch.tensor(loss, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    if not torch.isfinite(total):
        raise NotFiniteError(f"the loss is {total.item()}")
    every = torch.zeros(len(target), scores.shape[1], device=device)
    every[mine] = scores.to(device)
    weight = len(scores) / len(target)
    _sum_in_place([every, *(tensor.mul_(weight) for tensor in _to_be_shared(network))])
    return total.item(), every.cpu()


def _to_be_shared(network: nn.Module) -> Iterator[Tensor]:
    """Gradients, and running statistics of the batch normalisations that are learning."""
    for parameter in network.parameters():
        if parameter.grad is not None:
            yield parameter.grad
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats:
            assert module.running_mean is not None
            assert module.running_var is not None
            yield from (module.running_mean, module.running_var)


@torch.no_grad()
def _sum_in_place(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, with one message."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, summed in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(summed.view(tensor.shape))
