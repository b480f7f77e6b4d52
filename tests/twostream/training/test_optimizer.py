from __future__ import annotations

import pytest
import torch
from torch import nn

from twostream.training.learner import OPTIMIZERS, parameter_groups


def network() -> nn.Sequential:
    layers = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Linear(3, 2))
    layers[2].weight.requires_grad_(False)
    return layers


def test_filters_and_matrices_decay_biases_and_norms_do_not() -> None:
    layers = network()
    decaying, others = parameter_groups(layers, weight_decay=0.1)
    assert decaying["weight_decay"] == 0.1
    assert others["weight_decay"] == 0.0
    assert [p is layers[0].weight for p in decaying["params"]] == [True]
    assert len(others["params"]) == 4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_without_gradient_is_the_decay_alone(name: str) -> None:
    """The rate times the decay of each weight: 1 - 0.5 * 0.1 = 0.95."""
    layers = network()
    optimizer = OPTIMIZERS[name](
        parameter_groups(layers, weight_decay=0.1), lr=0.5, momentum=0.9, nesterov=False
    )
    before = layers[0].weight.detach().clone()
    bias = layers[0].bias.detach().clone()
    for parameter in layers.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.allclose(layers[0].weight, 0.95 * before)
    assert torch.equal(layers[0].bias, bias)
