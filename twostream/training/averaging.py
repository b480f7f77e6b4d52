"""Exponential moving average (EMA) of a network's weights, which is scored in their place."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = list[Tensor] | tuple[Tensor, ...]


def average_weights(network: nn.Module, *, decay: float) -> AveragedModel:
    """An exponential moving average of a network's weights and batch statistics.

    `update_parameters(network)` moves it, `module` is the network that holds it. At update n (from
    1) the average becomes d * average + (1 - d) * weights with d = min(decay, (1 + n) / (10 + n)):
    it forgets the start quickly. Counters are copied.
    """

    def move(averages: Tensors, weights: Tensors, n: Tensor | int) -> None:
        # torch hands over tensors of one dtype at a time.
        if averages[0].is_floating_point():
            warmed_up = min(decay, (1 + int(n)) / (10 + int(n)))
            get_ema_multi_avg_fn(warmed_up)(averages, weights, n)
        else:
            for average, weight in zip(averages, weights, strict=True):
                average.copy_(weight)

    average = AveragedModel(network, multi_avg_fn=move, use_buffers=True)
    average.n_averaged.fill_(1)  # the weights at the start count: torch would drop them
    return average.requires_grad_(False)
