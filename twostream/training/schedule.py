"""When the learning rate falls."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau


def plateau_schedule(optimizer: Optimizer) -> ReduceLROnPlateau:
    """Divide the rate by 10 when the validation loss has not fallen for two epochs.

    A loss counts as lower when it is below 0.9999 of the best. A step that would change the rate
    by less than 1e-8 is not taken, so a rate of 1e-8 or less stays.
    """
    return ReduceLROnPlateau(
        optimizer,
        mode="min",
        factor=0.1,
        patience=1,
        threshold=1e-4,
        threshold_mode="rel",
        eps=1e-8,
    )
