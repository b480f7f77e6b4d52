"""What changes while a run learns: the network, the optimiser and the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from twostream import plugins
from twostream.models import MODELS
from twostream.models.consensus import CONSENSUS
from twostream.training.loop import Batches, EpochStats, Progress, train_one_epoch
from twostream.training.run_folder import TrainOptions
from twostream.training.schedule import plateau_schedule
from twostream.transforms.presets import MODALITIES


class Learner:
    """A network on its device, with all that a step needs; its state can be kept and restored.

    Args:
        weights: what the network starts from, as `--weights`; `none` where they are loaded later.
    """

    def __init__(self, options: TrainOptions, *, num_classes: int, weights: str) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.device = torch.device(options.device)
        self.network = plugins.load(options.model, MODELS)(
            modality=MODALITIES[options.stream], num_classes=num_classes, weights=weights
        ).to(self.device, memory_format=torch.channels_last)
        self.optimizer = SGD(self.network.parameters(), lr=options.lr, momentum=options.momentum)
        self.schedule = plateau_schedule(self.optimizer)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def train(
        self,
        batches: Batches,
        *,
        labels: Tensor,
        progress: Progress,
        after_step: Callable[[], None],
    ) -> EpochStats:
        """Learn from `batches`, the rest of an epoch; see `train_one_epoch`."""
        return train_one_epoch(
            self.network,
            batches,
            labels=labels,
            consensus=plugins.load(self.options.consensus, CONSENSUS),
            optimizer=self.optimizer,
            device=self.device,
            precision=self.options.precision,
            accumulate=self.options.accumulate,
            progress=progress,
            after_step=after_step,
        )

    def state(self) -> dict[str, Any]:
        """All but the weights that `network` holds: for a checkpoint's `state.pt`."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned; the weights of `network` are loaded already."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
