"""What changes while a run learns: network, optimiser, schedule, average."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from twostream.compute.compiling import compiled
from twostream.compute.distributed import (
    data_parallel,
    num_ranks,
    rank,
    sum_over_processes,
)
from twostream.compute.memory import in_parts_that_fit, remember
from twostream.compute.numbers import NotFiniteError
from twostream.compute.precision import autocast
from twostream.data.dataset import sample_shape
from twostream.models import build_network
from twostream.models.activation_checkpointing import checkpoint_activations
from twostream.models.consensus import load_consensus, reduction
from twostream.models.segment_network import SegmentNetwork
from twostream.training.loop import Batches, EpochStats, Progress, train_one_epoch
from twostream.training.options import AUTO, TrainOptions
from twostream.training.schedule import Schedule
from twostream.training.step import accumulate_gradient
from twostream.transforms.mixing import mix_batch


class Learner:
    """A network on its device, with all that a step needs; its state can be kept and restored.

    Args:
        weights: what the network starts from, as `--weights`; `none` where they are loaded later.
        tell: is told, in a sentence, what was changed for want of memory.

    Attributes:
        trained: the network that learns, joined with those of other processes where there are any.
        compiled_eval_network: `eval_network`, compiled where that is wanted; they share weights.
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
        self.network.to_device(self.device)
        if options.sync_bn and num_ranks() > 1:
            self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        if options.recompute:
            checkpoint_activations(self.network.backbone)
        if options.dropout:
            add_dropout(self.network, options.dropout)
        self._freeze()
        self.average = average_weights(self.network, decay=options.ema) if options.ema else None
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
        self.trained: nn.Module = self.network
        self.rehearsals, self.largest = 0, 0
        self.compiled_eval_network = (
            compiled(self.eval_network) if options.compiled else self.eval_network
        )
        self.parts = 1 if options.accumulate == AUTO else int(options.accumulate)

    @property
    def eval_network(self) -> SegmentNetwork:
        """The network that is validated, scored and saved: the average, where there is one."""
        return self.average.module if self.average else self.network  # type: ignore[return-value]

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
        if num_ranks() > 1 and self.trained is self.network:
            self._wrap()
        return train_one_epoch(
            self._step, batches, labels=labels, progress=progress, after_step=after_step
        )

    def state(self) -> dict[str, Any]:
        """All but the weights that `eval_network` holds: for a checkpoint's `state.pt`."""
        average = (
            {
                "averaged": int(self.average.n_averaged),
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
        """Take up what `state` returned; the weights of `eval_network` are loaded already."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.parts = state["parts"]
        if self.average:
            self.average.n_averaged.fill_(state["average"]["averaged"])
            self.network.load_state_dict(state["average"]["network"])

    def _freeze(self) -> None:
        """Keep from learning what shall not; `network.train()` undoes a part of it."""
        if self.options.partial_bn:
            freeze_batch_norm(self.network)
        if self.options.freeze_backbone:
            freeze_backbone(self.network)

    def _step(self, clips: Tensor, target: Tensor) -> tuple[float, Tensor]:
        loss, scores = self._gradient(clips, target)
        if not math.isfinite(loss):
            raise NotFiniteError(f"the loss is {loss}")
        if self.options.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip_norm)
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.network)
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

    def _gradient(self, clips: Tensor, target: Tensor) -> tuple[float, Tensor]:
        """Set the gradient of the whole batch's mean loss, the same in every process.

        A share counts by its number of videos, so shares may differ in size.

        Args:
            clips: of this process's share. target: labels (N,) of the whole batch.

        Returns:
            Sum of the losses and scores (N, classes) of the whole batch.
        """
        clips, mixed = self._mixed(clips, target[rank() :: num_ranks()])

        def attempt(parts: int) -> tuple[float, Tensor]:
            return accumulate_gradient(
                self.trained,
                clips,
                mixed,
                consensus=self.reduce,
                device=self.device,
                precision=self.options.precision,
                parts=parts,
                divisor=len(target) / num_ranks(),
                label_smoothing=self.options.label_smoothing,
            )

        loss, scores = self._in_parts_that_fit(attempt, num_videos=len(clips))
        if num_ranks() > 1:
            return sum_over_processes(self.network, loss, scores, num_videos=len(target))
        return loss, scores

    def _in_parts_that_fit(
        self, attempt: Callable[[int], tuple[float, Tensor]], *, num_videos: int
    ) -> tuple[float, Tensor]:
        """Make the attempt in as many parts as `--accumulate` says, or as memory asks for."""
        if self.options.accumulate != AUTO:
            return attempt(self.parts)
        undo = remember(self.network, self.device)
        tried = partial(in_parts_that_fit, attempt, parts=self.parts, most=num_videos, undo=undo)
        if not isinstance(self.trained, DistributedDataParallel):
            result, parts = tried()
            self._take_parts(parts)
            return result
        # An attempt that has begun to send gradients cannot be made again: others wait for the
        # rest. So it is rehearsed, in the first step, in the second, when the optimiser has taken
        # its memory, and whenever there are more videos than before.
        if self.rehearsals < 2 or num_videos > self.largest:
            with self.trained.no_sync():
                self._take_parts(tried()[1])
            undo()
            self.rehearsals, self.largest = self.rehearsals + 1, max(num_videos, self.largest)
        return attempt(self.parts)

    def _take_parts(self, parts: int) -> None:
        if parts != self.parts:
            self.tell(
                f"Memory was short: a batch now goes through the network in {parts} parts, as with "
                f"--accumulate {parts}; batch size and learning rate stay as they were."
            )
        self.parts = parts

    def _wrap(self) -> None:
        """Join the network with those of the other processes."""
        segments = 1 if self.options.train_segment else self.options.num_segments
        shape = sample_shape(
            self.options.modality, num_segments=segments, size=self.options.input_size
        )
        # Two snippets at least: batch normalisation refuses a single value.
        clips = torch.zeros(max(1, 3 - segments), *shape, dtype=torch.uint8, device=self.device)

        def rehearse(network: nn.Module) -> None:
            with autocast(self.device, self.options.precision):
                segments = network(clips)
            self.reduce(segments.float()).sum().backward()

        undo = remember(self.network, self.device)
        self.trained = data_parallel(self.network, rehearse)
        undo()


# The optimisers by name.
def sgd(groups: list[dict[str, Any]], *, lr: float, momentum: float, nesterov: bool) -> Optimizer:
    """Stochastic gradient descent with momentum."""
    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov)


def adamw(groups: list[dict[str, Any]], *, lr: float, momentum: float, nesterov: bool) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019); momentum is beta1."""
    return AdamW(groups, lr=lr, betas=(momentum, 0.999))


OPTIMIZERS = {"sgd": sgd, "adamw": adamw}


def parameter_groups(network: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Part the trained parameters: filters and matrices decay; biases and norms do not."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decaying = [parameter for parameter in trained if parameter.ndim > 1]
    others = [parameter for parameter in trained if parameter.ndim <= 1]
    groups = [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


# What keeps a large network from learning few videos by heart.
def add_dropout(network: SegmentNetwork, rate: float) -> None:
    """Drop inputs of the classifier at this rate while training (Wang et al., ECCV 2016, 3.2).

    The names of the weights stay, so that scoring needs to know nothing of it.
    """

    def drop(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        return (F.dropout(inputs[0], rate, training=module.training),)

    network.classifier.register_forward_pre_hook(drop)


def freeze_batch_norm(network: nn.Module) -> None:
    """Partial batch normalisation (Wang et al., ECCV 2016, section 3.2): only the first one learns.

    The others keep statistics, scale and shift, as in that paper's PyTorch code. The first one
    alone sees a new kind of input. `network.train()` undoes it.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms[1:]:
        norm.eval().requires_grad_(False)


def freeze_backbone(network: SegmentNetwork) -> None:
    """Only the classifier, or the consensus, learns; the rest works as in evaluation."""
    network.backbone.eval().requires_grad_(False)


# Exponential moving average (EMA) of a network's weights, which is scored in their place.
Tensors = list[Tensor] | tuple[Tensor, ...]


def average_weights(network: nn.Module, *, decay: float) -> AveragedModel:
    """An exponential moving average of a network's weights and batch statistics.

    `update_parameters(network)` moves it, `module` is the network that holds it. At update n (from
    1) the average becomes d * average + (1 - d) * weights with d = min(decay, (1 + n) / (10 + n)):
    it forgets the start quickly. Counters are copied.
    """

    def move(averages: Tensors, weights: Tensors, n: Tensor | int) -> None:
        # torch hands over tensors of one dtype at a time.
        if averages[0].is_floating_point():
            warmed_up = min(decay, (1 + int(n)) / (10 + int(n)))
            get_ema_multi_avg_fn(warmed_up)(averages, weights, n)
        else:
            for average, weight in zip(averages, weights, strict=True):
                average.copy_(weight)

    average = AveragedModel(network, multi_avg_fn=move, use_buffers=True)
    average.n_averaged.fill_(1)  # the weights at the start count: torch would drop them
    return average.requires_grad_(False)
