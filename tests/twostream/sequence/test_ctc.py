from __future__ import annotations

import pytest
import torch

from twostream.sequence.ctc import ctc_losses, steps_needed
from twostream.sequence.decoding import log_probability


@pytest.mark.parametrize(
    ("labels", "steps"), [((), 0), ((3,), 1), ((1, 2, 1), 3), ((1, 1), 3), ((2, 2, 2, 1), 6)]
)
def test_steps_needed(labels: tuple[int, ...], steps: int) -> None:
    assert steps_needed(labels) == steps


def test_losses_are_those_of_the_true_time_steps() -> None:
    """What stands behind a sequence's length is not looked at; the forward algorithm agrees."""
    torch.manual_seed(0)
    log_probs = torch.randn(3, 9, 4).log_softmax(2)
    targets = [[1, 2], [3], [2, 2, 1]]
    losses, short = ctc_losses(log_probs, torch.tensor([9, 4, 6]), targets)
    assert short == []
    for n, length in enumerate((9, 4, 6)):
        expected = -log_probability(log_probs[n, :length].double().numpy(), targets[n])
        assert losses[n].item() == pytest.approx(expected, rel=1e-5)


def test_short_sequences_are_told_and_not_infinite() -> None:
    log_probs = torch.zeros(4, 5, 3, requires_grad=True).log_softmax(2)
    losses, short = ctc_losses(log_probs, torch.tensor([2, 3, 0, 5]), [[1, 1], [1, 1], [1], [1]])
    assert short == [0, 2]
    assert torch.isfinite(losses).all()
    losses.sum().backward()
    none, short = ctc_losses(log_probs[:1], torch.tensor([0]), [[1]])
    assert (len(none), short) == (0, [0])
