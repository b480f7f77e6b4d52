from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from twostream.compute.device import gradient_scaler
from twostream.models.temporal_shift import FrameAverage
from twostream.training.base_learner import (
    OPTIMIZERS,
    BaseLearner,
    average_weights,
    parameter_groups,
)
from twostream.training.learner import add_dropout, count_silent_norms, freeze_batch_norm


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


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gpu_takes_its_step_in_one_kernel(name: str) -> None:
    groups = parameter_groups(network(), weight_decay=0.1)
    options: Any = {"lr": 0.5, "momentum": 0.9, "nesterov": False}
    assert OPTIMIZERS[name](groups, **options).defaults["fused"] is None
    assert OPTIMIZERS[name](groups, **options, fused=True).defaults["fused"] is True


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


def test_dropout_of_frames_before_their_mean() -> None:
    """TSM: of four frames' features each is dropped by itself, then they are averaged."""
    network = nn.Sequential(FrameAverage(nn.Flatten()))
    network.add_module("classifier", nn.Linear(1, 1))
    names = list(network.state_dict())
    add_dropout(network, 0.5)
    assert list(network.state_dict()) == names
    torch.manual_seed(0)
    means = network[0].train()(torch.ones(500, 1, 4, 1, 1)).flatten()
    assert set(means.tolist()) == {0.0, 0.5, 1.0, 1.5, 2.0}
    assert means.mean().item() == pytest.approx(1.0, rel=0.1)
    assert network.eval()[0](torch.ones(2, 1, 4, 1, 1)).unique().tolist() == [1.0]
    assert not network.classifier._forward_pre_hooks


def test_only_the_first_batch_norm_learns() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3)))
    network.train()
    freeze_batch_norm(network, first=1)
    network(torch.arange(12.0).reshape(4, 3)).square().sum().backward()
    first, frozen = network[0], [*network[1]]
    assert first.running_mean.abs().sum() > 0
    assert first.weight.grad is not None
    for norm in frozen:
        assert norm.running_mean.abs().sum() == 0
        assert norm.weight.grad is None


@pytest.mark.parametrize("affine", [False, True])
def test_all_batch_norms_keep_their_statistics(affine: bool) -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3)).train()
    freeze_batch_norm(network, affine=affine)
    values = torch.arange(12.0, requires_grad=True)
    network(values.reshape(4, 3)).square().sum().backward()
    for norm in network:
        assert norm.running_mean.abs().sum() == 0
        assert norm.num_batches_tracked == 0
        assert (norm.weight.grad is None) == affine
    assert count_silent_norms(network) == 0
    nn.init.zeros_(network[1].weight)
    assert count_silent_norms(network) == 1


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


def test_a_step_that_is_skipped_does_not_move_the_average() -> None:
    """As fp16 skips those whose gradients overflow."""
    learner = BaseLearner()
    learner.network = nn.Linear(1, 1)
    learner.optimizer = torch.optim.SGD(learner.network.parameters(), lr=0.1)
    learner.scaler = torch.amp.GradScaler("cpu")
    learner.keep_average(0.9)
    assert learner.average is not None
    counts = []
    for value in (1.0, float("inf"), 1.0):
        learner.optimizer.zero_grad()
        learner.scaler.scale(learner.network(torch.full((1, 1), value)).sum()).backward()
        learner.scaler.step(learner.optimizer)
        learner.scaler.update()
        counts.append(int(learner.average.n_averaged))
    assert counts == [2, 2, 3]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("orders", [(0, 1), (1, 0), (1, 1)])
def test_a_restored_optimizer_has_the_memory_order_of_the_weights(
    name: str, orders: tuple[int, int]
) -> None:
    """That of a GPU and of a CPU differ; a run may be resumed on either."""
    formats = (torch.contiguous_format, torch.channels_last_3d)
    torch.manual_seed(0)
    layer = nn.Conv3d(2, 3, 2)
    x = torch.randn(1, 2, 3, 3, 3)
    learners: list[Any] = []
    for order in orders:
        ordered = copy.deepcopy(layer).to(memory_format=formats[order])
        optimizer = OPTIMIZERS[name](
            parameter_groups(ordered, weight_decay=0.1), lr=0.5, momentum=0.9, nesterov=False
        )
        scaler = gradient_scaler(torch.device("cpu"), "fp32")
        learners.append(
            SimpleNamespace(network=ordered, optimizer=optimizer, scaler=scaler, average=None)
        )
    before, after = learners

    def step(learner: Any) -> None:
        learner.optimizer.zero_grad()
        learner.network(x).square().sum().backward()
        learner.optimizer.step()

    step(before)
    after.network.load_state_dict(before.network.state_dict())
    BaseLearner.restore(after, copy.deepcopy(BaseLearner.state(before)))
    for kind in ("weight", "bias"):
        parameter = getattr(after.network, kind)
        saved = before.optimizer.state[getattr(before.network, kind)]
        values = after.optimizer.state[parameter]
        assert values.keys() == saved.keys()
        for key, value in values.items():
            assert torch.equal(value, saved[key])
            assert value.shape != parameter.shape or value.stride() == parameter.stride()
    step(before)
    step(after)
    assert torch.allclose(before.network.weight, after.network.weight, rtol=0, atol=1e-5)
