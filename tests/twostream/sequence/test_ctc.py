from __future__ import annotations

import pytest
import torch

from twostream.sequence.decoding import log_probability
from twostream.sequence.learner import ctc_losses, min_time_steps


@pytest.mark.parametrize(
    ("labels", "steps"), [((), 0), ((3,), 1), ((1, 2, 1), 3), ((1, 1), 3), ((2, 2, 2, 1), 6)]
)
def test_min_time_steps(labels: tuple[int, ...], steps: int) -> None:
    assert min_time_steps(labels) == steps


def test_losses_are_without_padding() -> None:
    """Padding has no influence; the forward algorithm agrees."""
    torch.manual_seed(0)
    log_probs = torch.randn(3, 9, 4).log_softmax(2)
    targets = [[1, 2], [3], [2, 2, 1]]
    losses, too_short = ctc_losses(log_probs, torch.tensor([9, 4, 6]), targets)
    assert too_short == []
    for n, length in enumerate((9, 4, 6)):
        expected = -log_probability(log_probs[n, :length].double().numpy(), targets[n])
        assert losses[n].item() == pytest.approx(expected, rel=1e-5)


def test_too_short_sequences_are_set_apart() -> None:
    log_probs = torch.zeros(4, 5, 3, requires_grad=True).log_softmax(2)
    losses, too_short = ctc_losses(
        log_probs, torch.tensor([2, 3, 0, 5]), [[1, 1], [1, 1], [1], [1]]
    )
    assert too_short == [0, 2]
    assert torch.isfinite(losses).all()
    losses.sum().backward()
    none, too_short = ctc_losses(log_probs[:1], torch.tensor([0]), [[1]])
    assert (len(none), too_short) == (0, [0])
