"""What learners share: a network, its optimiser and its average, and their state for a resume."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class BaseLearner:
    """A network and what changes while it learns.

    `eval_network` is saved as weights; `state` is everything else that a resumed run needs.
    """

    network: nn.Module
    average: AveragedModel | None
    optimizer: Optimizer
    scaler: torch.amp.GradScaler

    @property
    def eval_network(self) -> nn.Module:
        """The network that is validated, scored and saved: the average, where there is one."""
        return self.average.module if self.average else self.network

    def keep_average(self, decay: float) -> None:
        """Hold a moving average of the weights, which every step moves; none at a decay of 0."""
        self.average = average_weights(self.network, decay=decay) if decay else None
        if self.average:
            update = self.average.update_parameters
            self.optimizer.register_step_post_hook(lambda *_: update(self.network))

    def state(self) -> dict[str, Any]:
        """The training state as plain values and tensors: for a checkpoint's `state.pt`."""
        state: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        if self.average:
            state["averaged"] = int(self.average.n_averaged)
            state["network"] = dict(self.network.state_dict())
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned; the weights of `eval_network` are loaded already."""
        restore_optimizer(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.n_averaged.fill_(state["averaged"])
            self.network.load_state_dict(state["network"])


# What each keeps of a parameter once it has had a gradient.
OPTIMIZER_STATES = ({"momentum_buffer"}, {"step", "exp_avg", "exp_avg_sq"})


def restore_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Take up a `state_dict` of an optimiser, on whatever device.

    Raises:
        ValueError: it is not one of these parameters.
    """
    fused = optimizer.defaults["fused"]
    for group in state["param_groups"]:
        # Of this device, not of the one that the state was saved on. First: by it torch decides
        # where the step numbers of Adam go.
        group["fused"] = fused
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        if values and values.keys() not in OPTIMIZER_STATES:
            raise ValueError(f"the optimiser has {', '.join(map(str, values))} of a parameter")
        for name, value in values.items():
            # The memory order, too, is the device's. A fused step goes through memory in a row:
            # in another order than the weights', it adds momentum to the wrong ones in silence.
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)
            elif value is not None and not (isinstance(value, Tensor) and value.ndim == 0):
                raise ValueError(f"the optimiser has another kind of {name} of a parameter")


def sgd(
    groups: list[dict[str, Any]],
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    fused: bool | None = None,
) -> Optimizer:
    """Stochastic gradient descent with momentum; `fused` is one kernel, for a GPU."""
    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=fused)


def adamw(
    groups: list[dict[str, Any]],
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    fused: bool | None = None,
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019); momentum is beta1."""
    return AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=fused)


OPTIMIZERS = {"sgd": sgd, "adamw": adamw}


def parameter_groups(network: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Groups of the trained parameters: filters and matrices decay; biases and norms do not."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decaying = [parameter for parameter in trained if parameter.ndim > 1]
    others = [parameter for parameter in trained if parameter.ndim <= 1]
    groups = [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


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
