"""What a run should say of itself before its last epoch has come."""

from __future__ import annotations

import math

EPOCHS_OF_GRACE = 5


def not_learning(loss: float, *, num_classes: int, epochs: int) -> str | None:
    """A sentence where the training loss is still within 5 % of guessing, ln(classes).

    Args:
        loss: mean training loss of the last epoch. epochs: how many have been trained.
    """
    guessing = math.log(num_classes)
    if epochs < EPOCHS_OF_GRACE or loss < 0.95 * guessing:
        return None
    return (
        f"not learning: after {epochs} epochs the training loss, {loss:.3f}, is within 5 % of "
        f"guessing (ln {num_classes} = {guessing:.3f}); try another --lr or a --warmup, and look "
        "at the input with show-flow"
    )


def exhausted(lr: float, *, epochs: int, planned: int) -> str:
    """The sentence with which a run ends whose schedule cannot act any more."""
    return (
        f"stopped after {epochs} of {planned} epochs: the validation loss has not fallen for two "
        f"epochs, and the learning rate, {lr:g}, can fall no further"
    )
