"""Batch normalisation over the whole batch, of which each process holds a share.

torch's own SyncBatchNorm wants GPUs; this one is the same on any device.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from twostream.training.distributed import num_ranks


def share_batch_norms(network: nn.Module) -> None:
    """Let the batch normalisations of `network` see the shares of all processes while training.

    The names of the weights stay. Frozen ones, which are in evaluation, stay frozen. Every process
    must send its share through the same layers in the same order, and back.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                parent.register_module(name, SharedBatchNorm(child))


class SharedBatchNorm(_BatchNorm):
    """`norm` with the mean and variance of the inputs (N, C, ...) of all processes.

    Shares may differ in size. The gradient is that of one loss which is the sum of the processes'
    losses. Equations: Ioffe and Szegedy, ICML 2015, section 3; torch.nn.SyncBatchNorm.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features)
        self.__dict__.update(norm.__dict__)  # weights and statistics, and what hangs on them

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise each channel of a share."""
        if not self.training:
            return super().forward(inputs)
        mean, variance, count = _joint_statistics(inputs.detach())
        if self.track_running_stats:
            self._keep(mean, variance * count / (count - 1))
        output: Tensor = _Normalise.apply(
            inputs, self.weight, self.bias, mean, variance, count, self.eps
        )
        return output

    def _check_input_dim(self, inputs: Tensor) -> None:
        """Any number of dimensions will do."""

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, in the way and by the share that _BatchNorm does."""
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if share is None:
                share = 1 / self.num_batches_tracked.item()
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            assert share is not None
            running.lerp_(new.to(running.dtype), share)


def _joint_statistics(inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance (C,) of all shares, and the values of a channel, float64.

    Means and variances are gathered, not sums of squares, in which small variances would drown
    (Chan et al., 1979). All processes compute with the same numbers, so they agree to the last bit.
    """
    variance, mean = torch.var_mean(inputs.float(), dim=_all_but_channels(inputs), correction=0)
    count = mean.new_full((1,), inputs.numel() // inputs.shape[1], dtype=torch.float64)
    own = torch.cat([count, mean.double(), variance.double()])
    shares = [torch.empty_like(own) for _ in range(num_ranks())]
    dist.all_gather(shares, own)
    every = torch.stack(shares)
    counts, means, variances = every.split([1, len(mean), len(mean)], dim=1)
    count = counts.sum()
    joint = (counts * means).sum(dim=0) / count
    return joint, (counts * (variances + (means - joint).square())).sum(dim=0) / count, count


class _Normalise(torch.autograd.Function):
    """Scale and shift by given statistics, which in the gradient depend on all processes."""

    @staticmethod
    def forward(
        context: Any,
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        mean, scale = mean.float(), (variance + eps).rsqrt().float()
        context.save_for_backward(inputs, weight, mean, scale, count)
        return F.batch_norm(inputs, mean, variance.float(), weight, bias, eps=eps)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, scale, count = context.saved_tensors
        axes, shape = _all_but_channels(inputs), (1, -1, *(1,) * (inputs.ndim - 2))
        normed = (inputs.float() - mean.view(shape)) * scale.view(shape)
        gradient = gradient.float()
        own = torch.stack([gradient.sum(axes), (gradient * normed).sum(axes)])
        joint = own.clone()
        dist.all_reduce(joint)
        shift, stretch = (joint / count).float()
        through = gradient - shift.view(shape) - normed * stretch.view(shape)
        factor = scale if weight is None else scale * weight
        to_inputs = (through * factor.view(shape)).to(inputs.dtype)
        to_weight, to_bias = (
            own[kind] if needed else None
            for kind, needed in zip((1, 0), context.needs_input_grad[1:3], strict=True)
        )
        return to_inputs, to_weight, to_bias, None, None, None, None


def _all_but_channels(inputs: Tensor) -> list[int]:
    return [0, *range(2, inputs.ndim)]
