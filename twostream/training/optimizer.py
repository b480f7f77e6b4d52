"""The optimisers by name."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer


def sgd(groups: list[dict[str, Any]], *, lr: float, momentum: float, nesterov: bool) -> Optimizer:
    """Stochastic gradient descent with momentum."""
    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov)


def adamw(groups: list[dict[str, Any]], *, lr: float, momentum: float, nesterov: bool) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019); momentum is beta1."""
    return AdamW(groups, lr=lr, betas=(momentum, 0.999))


OPTIMIZERS = {"sgd": sgd, "adamw": adamw}


def parameter_groups(network: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Part the trained parameters: filters and matrices decay; biases and norms do not."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decaying = [parameter for parameter in trained if parameter.ndim > 1]
    others = [parameter for parameter in trained if parameter.ndim <= 1]
    groups = [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
