from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twostream.models.consensus import CONSENSUS
from twostream.training.step import accumulate_gradient

from .tiny_network import LABELS, Brightness, batches

CLIPS, INDICES = next(batches())
TARGET = LABELS[list(INDICES)]


def gradient(network: Brightness, **options: Any) -> tuple[float, Tensor]:
    return accumulate_gradient(
        network, CLIPS, TARGET, consensus=CONSENSUS["mean"], device=torch.device("cpu"),
        **{"precision": "fp32", **options},
    )  # fmt: skip


def by_hand(**options: float) -> tuple[float, Tensor, Tensor]:
    """Loss sum, logits and gradient of the whole batch at once."""
    network = Brightness()
    logits = network(CLIPS).mean(dim=1)
    loss = F.cross_entropy(logits, TARGET, **options)
    (expected,) = torch.autograd.grad(loss, network.weight)
    return loss.item() * len(TARGET), logits.detach(), expected


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_the_gradient_is_that_of_the_whole_batch(parts: int) -> None:
    network = Brightness()
    network.weight.grad = torch.ones(6)  # of a step before: it must not count
    loss, scores = gradient(network, parts=parts)
    expected_loss, expected_scores, expected = by_hand()
    assert network.weight.grad is not None
    assert torch.allclose(network.weight.grad, expected)
    assert loss == pytest.approx(expected_loss)
    assert torch.allclose(scores, expected_scores)
    assert network.largest_batch == (4 if parts == 1 else 2)


def test_label_smoothing() -> None:
    """0.3 of the target spread over six classes: 0.75 on the right one, 0.05 on each other."""
    loss, scores = gradient(Brightness(), label_smoothing=0.3)
    target = torch.full((2, 6), 0.05)
    target[[0, 1], TARGET] = 0.75
    assert loss == pytest.approx(-(target * scores.log_softmax(dim=1)).sum().item(), rel=1e-5)


def test_bf16_is_close_and_the_weights_stay_float32() -> None:
    network = Brightness()
    gradient(network, precision="bf16")
    assert network.weight.grad is not None
    assert network.weight.grad.dtype == torch.float32
    assert torch.allclose(network.weight.grad, by_hand()[2], atol=0.02)


def test_a_loss_that_is_not_finite_is_returned() -> None:
    network = Brightness()
    network.weight.data[0] = float("nan")
    assert not torch.isfinite(torch.tensor(gradient(network)[0]))
