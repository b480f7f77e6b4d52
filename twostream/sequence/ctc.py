"""The CTC loss, and sequences that are too short for their labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from twostream.sequence.decoding import BLANK


def steps_needed(labels: Sequence[int]) -> int:
    """Time steps that a label sequence takes at least: a blank must part two equal labels."""
    return len(labels) + sum(one == two for one, two in pairwise(labels))


def ctc_losses(
    log_probs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]
) -> tuple[Tensor, list[int]]:
    """Negative log-probability of each sequence's labels (natural logarithm).

    Args:
        log_probs: (N, T, classes), class 0 the blank. lengths: (N,), true time steps.
        targets: labels from 1.

    Returns:
        Losses (M,) of the sequences that are long enough for their labels, and the rows of the
        others, whose loss would be infinite.
    """
    needed = torch.tensor([steps_needed(labels) for labels in targets], device=lengths.device)
    enough = (lengths >= needed) & (lengths > 0)
    rows = enough.nonzero()[:, 0]
    short = (~enough).nonzero()[:, 0].tolist()
    if not len(rows):
        return log_probs.new_zeros(0), short
    kept = [targets[row] for row in rows.tolist()]
    labels = [label for sequence in kept for label in sequence]
    losses = F.ctc_loss(
        log_probs[rows].transpose(0, 1),
        torch.tensor(labels, dtype=torch.int64, device=log_probs.device),
        lengths[rows].cpu(),
        torch.tensor([len(sequence) for sequence in kept]),
        blank=BLANK,
        reduction="none",
    )
    return losses, short
