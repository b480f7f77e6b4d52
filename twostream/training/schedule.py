"""The learning rate of every epoch."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau


class Schedule:
    """Sets the rate at the beginning of an epoch, and hears of its validation loss at the end.

    In epoch e of a warm-up of W the rate is (e + 1) / (W + 1) of the full one; then comes
    `plateau`, which follows the validation loss, or `cosine` or `steps`, which follow the epoch.
    `plateau` divides the rate by 10 when the loss has not fallen for two epochs. A loss counts as
    lower when it is below 0.9999 of the best. A step that would change the rate by less than 1e-8
    is not taken, so a rate of 1e-8 or less stays.

    Attributes:
        exhausted: `plateau` would have lowered the rate and could not: nothing will change again.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        kind: str,
        epochs: int,
        warmup: int = 0,
        milestones: tuple[int, ...] = (),
    ) -> None:
        self.optimizer, self.kind, self.epochs = optimizer, kind, epochs
        self.warmup, self.milestones = warmup, milestones
        self.full = self.lr
        self.plateau = (
            ReduceLROnPlateau(optimizer, factor=0.1, patience=1, threshold=1e-4, eps=1e-8)
            if kind == "plateau"
            else None
        )
        self.exhausted = False

    @property
    def lr(self) -> float:
        """The rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def begin(self, epoch: int) -> None:
        """Set the rate of `epoch`, but for what the plateau has found."""
        if epoch < self.warmup:
            factor = (epoch + 1) / (self.warmup + 1)
        elif self.kind == "cosine":  # half of one, from 1 (Loshchilov and Hutter, ICLR 2017)
            angle = math.pi * (epoch - self.warmup) / (self.epochs - self.warmup)
            factor = 0.5 * (1 + math.cos(angle))
        elif self.kind == "steps":
            factor = 0.1 ** sum(epoch >= milestone for milestone in self.milestones)
        elif epoch == self.warmup:
            factor = 1.0
        else:
            return
        for group in self.optimizer.param_groups:
            group["lr"] = self.full * factor

    def end(self, epoch: int, loss: float) -> None:
        """Take the validation loss of an epoch into account; not every epoch needs to have one."""
        if self.plateau is None or epoch < self.warmup:
            return
        best, lr = self.plateau.best, self.lr
        self.plateau.step(loss)
        acted = self.plateau.best == best and self.plateau.num_bad_epochs == 0
        self.exhausted = acted and self.lr == lr

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs; the rate itself is kept with the optimiser."""
        plateau = self.plateau.state_dict() if self.plateau else {}
        return {"plateau": plateau, "exhausted": self.exhausted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        if self.plateau:
            # torch makes attributes of whatever stands there: only of what it has written itself.
            known = self.plateau.state_dict().keys()
            self.plateau.load_state_dict({k: v for k, v in state["plateau"].items() if k in known})
        self.exhausted = state["exhausted"]
