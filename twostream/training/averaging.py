"""The running average of the weights, which is scored in their place."""

from __future__ import annotations

import copy

import torch
from torch import nn


class AveragedWeights:
    """An exponential moving average of a network's weights and batch statistics.

    After update n (from 1) the average is d * average + (1 - d) * weights with
    d = min(decay, (1 + n) / (10 + n)): it forgets the start quickly.

    Attributes:
        network: a network of its own that holds the average.
        updates: n.
    """

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the weights of `network`."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], 1 - decay)
            else:
                average.copy_(current[name])
