"""CTC loss of a batch, in which sequences too short for their labels are set apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from twostream.sequence.decoding import BLANK


def min_time_steps(labels: Sequence[int]) -> int:
    """The fewest time steps for these labels: a blank must separate two equal ones."""
    return len(labels) + sum(label == next_label for label, next_label in pairwise(labels))


def ctc_losses(
    log_probs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]
) -> tuple[Tensor, list[int]]:
    """Negative log-probability of the labels of each sequence (natural logarithm).

    Args:
        log_probs: (N, T, classes), class 0 the blank. lengths: (N,), time steps without padding.
        targets: labels from 1.

    Returns:
        Losses (M,) of the sequences that are long enough for their labels, and the rows of the
        others, whose loss would be infinite.
    """
    required = torch.tensor([min_time_steps(labels) for labels in targets], device=lengths.device)
    long_enough = (lengths >= required) & (lengths > 0)
    rows = long_enough.nonzero()[:, 0]
    too_short = (~long_enough).nonzero()[:, 0].tolist()
    if not len(rows):
        return log_probs.new_zeros(0), too_short
    sequences = [targets[row] for row in rows.tolist()]
    labels = [label for sequence in sequences for label in sequence]
    losses = F.ctc_loss(
        log_probs[rows].transpose(0, 1),
        torch.tensor(labels, dtype=torch.int64, device=log_probs.device),
        lengths[rows].cpu(),
        torch.tensor([len(sequence) for sequence in sequences]),
        blank=BLANK,
        reduction="none",
    )
    return losses, too_short
