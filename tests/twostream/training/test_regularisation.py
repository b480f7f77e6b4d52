from __future__ import annotations

import pytest
import torch
from torch import nn

from twostream.training.learner import add_dropout, freeze_batch_norm


def test_dropout_before_the_classifier_in_training_alone() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Identity())
    network.add_module("classifier", nn.Linear(4, 1, bias=False))
    names = list(network.state_dict())
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(4))
        network[0].bias.zero_()
        network[2].weight.fill_(1.0)
    add_dropout(network, 0.75)
    assert list(network.state_dict()) == names
    ones = torch.ones(1000, 4)
    torch.manual_seed(0)
    dropped = network.train()(ones).flatten()
    assert set(dropped.tolist()) == {0.0, 4.0, 8.0, 12.0, 16.0}  # those that stay count four times
    assert dropped.mean().item() == pytest.approx(4.0, rel=0.1)
    assert network.eval()(ones).unique().tolist() == [4.0]


def test_only_the_first_batch_norm_learns() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3)))
    network.train()
    freeze_batch_norm(network)
    network(torch.arange(12.0).reshape(4, 3)).square().sum().backward()
    first, frozen = network[0], [*network[1]]
    assert first.running_mean.abs().sum() > 0
    assert first.weight.grad is not None
    for norm in frozen:
        assert norm.running_mean.abs().sum() == 0
        assert norm.weight.grad is None
