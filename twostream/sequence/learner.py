"""What changes while a sequence network learns: its weights, optimiser, and average."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from twostream.sequence import parts
from twostream.sequence.batches import Batch, derive_seed
from twostream.sequence.ctc import ctc_losses
from twostream.sequence.network import build_network, without_weights
from twostream.sequence.run_folder import SequenceOptions
from twostream.training.averaging import average_weights
from twostream.training.loop import NotFiniteError
from twostream.training.precision import autocast


@dataclass(slots=True)
class EpochSums:
    """What a pass over the training videos gave.

    Attributes:
        sequences: that were learnt from. loss: sum of their CTC losses, natural logarithm.
        short: indices of videos with fewer time steps than their glosses need; not learnt from.
    """

    sequences: int = 0
    loss: float = 0.0
    short: list[int] = field(default_factory=list)


class SequenceLearner:
    """A sequence network on its device, with all that a step needs.

    Args:
        classes: of the output, the blank included.
        fresh: load what `--load` names; False where a checkpoint follows.
    """

    def __init__(self, options: SequenceOptions, *, classes: int, fresh: bool) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.device = torch.device(options.device)
        self.network = build_network(
            stream=options.stream,
            backbone=options.backbone if fresh else without_weights(options.backbone),
            temporal=options.temporal,
            classes=classes,
        ).to(self.device)
        if fresh and options.load:
            parts.load_parts(self.network, Path(options.load), options.load_stages)
        parts.freeze(self.network, options.freeze)
        rates = parts.read_rates(options.stage_lr)
        groups = parts.parameter_groups(self.network, lr=options.lr, part_lr=rates)
        self.optimizer = Adam(groups, weight_decay=options.weight_decay)
        self.full_rates = [group["lr"] for group in groups]
        self.average = average_weights(self.network, decay=options.ema) if options.ema else None

    @property
    def scored(self) -> nn.Module:
        """The network that is validated, scored and kept: the average, where there is one."""
        return self.average.module if self.average else self.network

    def train_epoch(
        self, batches: Iterable[Batch], *, epoch: int, targets: Sequence[Sequence[int]]
    ) -> EpochSums:
        """Learn from `batches`, whose indices look up `targets`; rates are halved at given epochs.

        Dropout and sampled frames follow torch's generator, seeded by seed and epoch.

        Raises:
            NotFiniteError: the loss of a batch is not finite; the weights are those before it.
        """
        torch.manual_seed(derive_seed(self.options.seed, epoch))
        halved = 0.5 ** sum(epoch >= milestone for milestone in self.options.halve_at)
        for group, rate in zip(self.optimizer.param_groups, self.full_rates, strict=True):
            group["lr"] = rate * halved
        self.network.train()
        parts.freeze(self.network, self.options.freeze)
        sums = EpochSums()
        for clips, lengths, indices in batches:
            losses, short = self._step(clips, lengths, [targets[index] for index in indices])
            sums.sequences += len(losses)
            sums.loss += float(losses.sum())
            sums.short += [indices[row] for row in short]
        return sums

    def state(self) -> dict[str, Any]:
        """All but the weights that `scored` holds: for a checkpoint's `state.pt`."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict()}
        if self.average:
            state["averaged"] = int(self.average.n_averaged)
            state["network"] = dict(self.network.state_dict())
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned; the weights of `scored` are loaded already."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.n_averaged.fill_(state["averaged"])
            self.network.load_state_dict(state["network"])

    def _step(
        self, clips: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]
    ) -> tuple[Tensor, list[int]]:
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.options.precision):
            log_probs, steps = self.network(clips.to(self.device), lengths.to(self.device))
        losses, short = ctc_losses(log_probs, steps, targets)
        if not torch.isfinite(losses).all():
            raise NotFiniteError(f"a loss of {losses.tolist()}")
        if len(losses):
            losses.mean().backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip_norm)
            self.optimizer.step()
            if self.average:
                self.average.update_parameters(self.network)
        return losses.detach(), short
