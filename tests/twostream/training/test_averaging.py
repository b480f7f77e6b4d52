from __future__ import annotations

import pytest
import torch
from torch import nn

from twostream.training.learner import average_weights


def test_the_average_by_hand() -> None:
    """Decay 0.25: d is 2/11 in the first update and 3/12 from the second on."""
    network = nn.BatchNorm1d(1)
    average = average_weights(network, decay=0.25)
    expected = {"weight": 1.0, "running_mean": 0.0}
    for update, d in enumerate([2 / 11, 0.25, 0.25], 1):
        network.weight.data.fill_(10.0 * update)
        network.running_mean.fill_(-float(update))
        network.num_batches_tracked.fill_(update)
        average.update_parameters(network)
        expected["weight"] = d * expected["weight"] + (1 - d) * 10.0 * update
        expected["running_mean"] = d * expected["running_mean"] - (1 - d) * update
        state = average.module.state_dict()
        assert {name: state[name].item() for name in expected} == pytest.approx(expected)
        assert state["num_batches_tracked"] == update
        assert average.n_averaged == update + 1


def test_the_average_is_a_network_of_its_own() -> None:
    network = nn.Linear(2, 2)
    average = average_weights(network, decay=0.9)
    network.weight.data.add_(1.0)
    assert not torch.equal(average.module.weight, network.weight)
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
