"""What changes while a run learns: network, optimiser, schedule, average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostream.inference.compiled import compiled
from twostream.models import build_network
from twostream.models.consensus import load_consensus, reduction
from twostream.models.recompute import recompute_blocks
from twostream.models.segment_network import SegmentNetwork
from twostream.training.averaging import AveragedWeights
from twostream.training.distributed import num_ranks
from twostream.training.loop import Batches, EpochStats, Progress, train_one_epoch
from twostream.training.memory import in_parts_that_fit, remember
from twostream.training.optimizer import OPTIMIZERS, parameter_groups
from twostream.training.regularisation import add_dropout, freeze_backbone, freeze_batch_norm
from twostream.training.run_folder import AUTO, TrainOptions
from twostream.training.schedule import Schedule
from twostream.training.shared_batch_norm import share_batch_norms
from twostream.training.shared_gradient import share_gradient
from twostream.training.step import accumulate_gradient
from twostream.transforms.mixing import mix_batch


class Learner:
    """A network on its device, with all that a step needs; its state can be kept and restored.

    Args:
        weights: what the network starts from, as `--weights`; `none` where they are loaded later.
        tell: is told, in a sentence, what was changed for want of memory.

    Attributes:
        evaluated: `scored`, compiled where that is wanted; the two share their weights.
    """

    def __init__(
        self, options: TrainOptions, *, num_classes: int, weights: str, tell: Callable[[str], None]
    ) -> None:
        torch.manual_seed(options.seed)
        self.options, self.tell, self.num_classes = options, tell, num_classes
        consensus = load_consensus(options.consensus, options.consensus_options)
        self.reduce = reduction(consensus)
        self.device = torch.device(options.device)
        self.network = build_network(
            options.model,
            consensus=consensus,
            modality=options.modality,
            num_classes=num_classes,
            weights=weights,
            options=options.model_options,
        )
        self.network.place(self.device)
        if options.sync_bn and num_ranks() > 1:
            share_batch_norms(self.network)
        if options.recompute:
            recompute_blocks(self.network.backbone)
        if options.dropout:
            add_dropout(self.network, options.dropout)
        self._freeze()
        self.average = AveragedWeights(self.network, decay=options.ema) if options.ema else None
        self.optimizer = OPTIMIZERS[options.optimizer](
            parameter_groups(self.network, weight_decay=options.weight_decay),
            lr=options.lr,
            momentum=options.momentum,
            nesterov=options.nesterov,
        )
        self.schedule = Schedule(
            self.optimizer,
            kind=options.schedule,
            epochs=options.epochs,
            warmup=options.warmup,
            milestones=options.milestones,
        )
        self.evaluated = compiled(self.scored) if options.compiled else self.scored
        self.parts = 1 if options.accumulate == AUTO else int(options.accumulate)

    @property
    def scored(self) -> SegmentNetwork:
        """The network that is validated, scored and kept: the average, where there is one."""
        return self.average.network if self.average else self.network  # type: ignore[return-value]

    def train(
        self,
        batches: Batches,
        *,
        labels: Tensor,
        progress: Progress,
        after_step: Callable[[], None],
    ) -> EpochStats:
        """Learn from `batches`, the rest of an epoch; see `train_one_epoch`."""
        self.network.train()
        self._freeze()
        return train_one_epoch(
            self._step, batches, labels=labels, progress=progress, after_step=after_step
        )

    def state(self) -> dict[str, Any]:
        """All but the weights that `scored` holds: for a checkpoint's `state.pt`."""
        average = (
            {
                "updates": self.average.updates,
                "network": dict(self.network.state_dict()),
            }
            if self.average
            else {}
        )
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "parts": self.parts,
            "average": average,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned; the weights of `scored` are loaded already."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.parts = state["parts"]
        if self.average:
            self.average.updates = state["average"]["updates"]
            self.network.load_state_dict(state["average"]["network"])

    def _freeze(self) -> None:
        """Keep from learning what shall not; `network.train()` undoes a part of it."""
        if self.options.partial_bn:
            freeze_batch_norm(self.network)
        if self.options.freeze_backbone:
            freeze_backbone(self.network)

    def _step(self, clips: Tensor, target: Tensor) -> tuple[float, Tensor]:
        if num_ranks() > 1:
            loss, scores = share_gradient(self._gradient, self.network, clips, target)
        else:
            loss, scores = self._gradient(clips, target)
        if self.options.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip_norm)
        self.optimizer.step()
        if self.average:
            self.average.update(self.network)
        return loss, scores

    def _mixed(self, clips: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The batch as it is learnt from: with soft targets (N, classes) where videos are mixed.

        Several processes mix each its share.
        """
        options = self.options
        if not (options.mixup or options.cutmix):
            return clips, target
        return mix_batch(
            clips,
            F.one_hot(target, self.num_classes).float(),
            mixup_alpha=options.mixup,
            cutmix_alpha=options.cutmix,
            # torch was seeded for this very batch; its own stream of numbers is dropout's.
            rng=np.random.default_rng(torch.initial_seed()),
        )

    def _gradient(self, clips: Tensor, target: Tensor, whole: int = 0) -> tuple[float, Tensor]:
        clips, target = self._mixed(clips, target)

        def attempt(parts: int) -> tuple[float, Tensor]:
            return accumulate_gradient(
                self.network,
                clips,
                target,
                consensus=self.reduce,
                device=self.device,
                precision=self.options.precision,
                parts=parts,
                whole=whole,
                label_smoothing=self.options.label_smoothing,
            )

        if self.options.accumulate != AUTO:
            return attempt(self.parts)
        undo = remember(self.network, self.device)
        found, parts = in_parts_that_fit(attempt, parts=self.parts, most=len(target), undo=undo)
        if parts != self.parts:
            self.tell(
                f"Memory was short: a batch now goes through the network in {parts} parts, as with "
                f"--accumulate {parts}; batch size and learning rate stay as they were."
            )
        self.parts = parts
        return found
