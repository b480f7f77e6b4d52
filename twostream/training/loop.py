"""The training loop: one epoch, one step, and how results are counted. No files, no options."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from fusion.evaluation.metrics import top_k_correct
from twostream.compute.device import MicroBatches, autocast, gradient_scaler
from twostream.compute.distributed import rank, sum_over_processes, world_size
from twostream.training.loss import Loss

Batches = Iterable[tuple[Tensor, Sequence[int]]]  # clips (N, S, T, C, H, W) and video indices
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
FurtherLoss = Callable[[Tensor, Tensor], Tensor]  # clips and targets -> a sum over videos

# How many steps a GPU is given before it is asked for their losses. Asking makes it wait about half
# a millisecond for the next step; not asking keeps the clips of so many steps in its memory.
STEPS_PER_FETCH = 5
UNSCALED = gradient_scaler(torch.device("cpu"), "fp32")


CROSS_ENTROPY = Loss()


class NotFiniteError(ArithmeticError):
    """The loss became infinite or not a number."""


def train_one_epoch(
    network: nn.Module,
    batches: Batches,
    *,
    labels: Tensor,
    consensus: Callable[[Tensor], Tensor],
    optimizer: Optimizer,
    scaler: GradScaler = UNSCALED,
    device: torch.device,
    precision: str,
    micro_batches: MicroBatches,
    mix: Mix | None = None,
    loss_of: Loss = CROSS_ENTROPY,
    further_loss: FurtherLoss | None = None,
    clip_norm: float = 0.0,
    progress: Progress,
    after_step: Callable[[], None] = lambda: None,
) -> EpochStats:
    """Take a step on every batch once.

    Under several processes each takes a share of every batch, and all take the same step.

    Args:
        network: in training mode; with several processes a DistributedDataParallel.
        batches: the clips of this process's share, and the indices of all videos of the batch.
        labels: label of every video; the indices point into it.
        micro_batches: cuts a batch in parts that fit into memory.
        scaler: of the losses before the backward pass; see `gradient_scaler`.
        loss_of: what is minimised; its mean over a batch is weighted where classes are.
        further_loss: as in `accumulate_gradient`.
        mix: clips and labels -> mixed clips and soft targets (N, classes).
        clip_norm: the largest norm of the gradient; 0 for any.
        progress: of the batches before these; updated with every step.
        after_step: called whenever all steps so far are done and counted: on a CPU after each, on a
            GPU after every few.

    Raises:
        NotFiniteError: the loss of a batch is not finite; on a CPU the weights are those before it,
            on a GPU those of a few steps later.
    """
    # A GPU is given one step after the other, and asked for losses and scores now and then: who
    # asks, waits until it has done all. On a CPU asking costs nothing.
    steps_per_fetch = STEPS_PER_FETCH if device.type == "cuda" else 1
    steps: list[tuple[Tensor, Tensor, Tensor]] = []  # losses, scores, labels: not counted yet
    step_done = torch.cuda.Event() if device.type == "cuda" else None

    def count_steps() -> None:
        for losses, scores, target in steps:
            loss = sum(losses.tolist())
            if not math.isfinite(loss):
                raise NotFiniteError(f"batch {progress.batches + 1}: the loss is {loss}")
            progress.add(loss, scores.cpu().numpy(), target.numpy())
        steps.clear()

    start = time.perf_counter()
    for clips, indices in batches:
        loaded = time.perf_counter()
        # Data that comes while the GPU is still at work has kept nobody waiting.
        was_idle = step_done is None or step_done.query()
        target = labels[list(indices)]
        share = target[rank() :: world_size()].to(device, non_blocking=True)
        if mix:
            clips, share = mix(clips, share)
        for attempt in micro_batches.attempts(network, num_videos=len(clips), device=device):
            with attempt:
                losses, scores = accumulate_gradient(
                    network,
                    clips,
                    share,
                    attempt.parts,
                    consensus=consensus,
                    device=device,
                    precision=precision,
                    scaler=scaler,
                    loss_of=loss_of,
                    further_loss=further_loss,
                    divisor=loss_of.total_weight(target) / world_size(),
                )
        if world_size() > 1:
            losses, scores = sum_over_processes(network, losses, scores, num_videos=len(target))
        steps.append((losses, scores, target))
        if steps_per_fetch == 1:
            count_steps()  # before the step: a loss that is not finite leaves the weights alone
        if clip_norm:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        scaler.step(optimizer)
        scaler.update()
        if step_done:
            step_done.record()
        if len(steps) >= steps_per_fetch:
            count_steps()
        progress.batch_time += time.perf_counter() - start
        progress.data_time += (loaded - start) * was_idle
        if not steps:  # what is saved then is counted, and finite
            after_step()
        start = time.perf_counter()
    count_steps()
    progress.batch_time += time.perf_counter() - start
    return progress.stats()


def accumulate_gradient(
    network: nn.Module,
    clips: Tensor,
    target: Tensor,
    parts: int = 1,
    *,
    consensus: Callable[[Tensor], Tensor],
    device: torch.device,
    precision: str,
    scaler: GradScaler = UNSCALED,
    loss_of: Loss = CROSS_ENTROPY,
    further_loss: FurtherLoss | None = None,
    divisor: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Set the gradient of a batch's mean loss.

    Returns:
        The sums of the losses of each part (parts,), and the logits (N, classes); on the device,
        which may still be computing them.

    The gradient is that of the whole batch whatever the number of parts, but batch normalisation
    sees one part at a time. A loss that is not finite is returned like any other: other processes
    may be waiting for this gradient.

    Args:
        clips: uint8 (N, S, T, C, H, W). target: labels (N,), or soft targets (N, classes).
        parts: how many micro-batches the batch is cut in; each goes through the network at once.
        consensus: logits of the segments (N, S, classes) -> of the video (N, classes).
        precision: one of `PRECISIONS`, of the network alone: consensus and loss are float32.
        scaler: the gradient is this much larger; see `gradient_scaler`.
        loss_of: logits and targets -> the sum of their losses.
        further_loss: is asked once a part has passed through the network, with its clips and
            targets, for what is added to that sum; it is not in the losses that are returned.
        divisor: the gradient is that of the sum of the losses divided by this; without, by N.
            Where `network` is a DistributedDataParallel, which averages the gradients of P
            processes, N of the common batch divided by P gives the gradient of its mean loss.
    """
    network.zero_grad(set_to_none=True)
    target, losses, scores = target.to(device), [], []
    parallel = network if isinstance(network, DistributedDataParallel) else None
    micro_batches = list(zip(clips.chunk(parts), target.chunk(parts), strict=True))
    for number, (part, part_target) in enumerate(micro_batches, 1):
        # Gradients are exchanged once, while those of the last micro-batch are computed.
        is_last = number == len(micro_batches)
        with parallel.no_sync() if parallel and not is_last else nullcontext():
            with autocast(device, precision):
                segments = network(part.to(device, non_blocking=True))
            logits = consensus(segments.float())
            loss = loss_of(logits, part_target)
            losses.append(loss.detach())
            if further_loss:
                further = further_loss(part, part_target)
                loss = loss + further
                losses[-1] = losses[-1] + 0 * further.detach()  # not finite where it is not
            scaler.scale(loss / (divisor or len(target))).backward()
        scores.append(logits.detach())
    return torch.stack(losses), torch.cat(scores)


@dataclass(frozen=True, slots=True)
class EpochStats:
    """What one pass over some videos gave.

    Attributes:
        videos: seen so far.
        top1, top5: correctly recognised ones of them.
        loss: mean loss of a video, natural logarithm: of training as it is minimised, but for what
            --auxiliary-loss adds; of validation the cross-entropy.
        batch_time, data_time: mean seconds of a batch, and of waiting for its data.
        total_time: seconds of the whole pass.
        segments: top-1 of each segment alone; empty where that is not known.
    """

    videos: int
    top1: int
    top5: int
    loss: float
    batch_time: float
    data_time: float
    total_time: float
    segments: tuple[int, ...] = ()


@dataclass(slots=True)
class Progress:
    """Sums over the batches of an epoch so far: all that is needed to resume within it."""

    batches: int = 0
    videos: int = 0
    top1: int = 0
    top5: int = 0
    loss: float = 0.0
    batch_time: float = 0.0
    data_time: float = 0.0

    def add(self, loss: float, scores: NDArray[np.float32], truth: NDArray[np.int64]) -> None:
        """Count a batch: the sum of its losses, its scores (N, classes) and labels (N,)."""
        self.batches += 1
        self.videos += len(truth)
        self.loss += loss
        self.top1 += top_k_correct(scores, truth, 1)
        self.top5 += top_k_correct(scores, truth, 5)

    def stats(self) -> EpochStats:
        """The means so far; at least one batch must have been seen."""
        return EpochStats(
            videos=self.videos,
            top1=self.top1,
            top5=self.top5,
            loss=self.loss / self.videos,
            batch_time=self.batch_time / self.batches,
            data_time=self.data_time / self.batches,
            total_time=self.batch_time,
        )


def evaluate(
    logits: NDArray[np.float32], labels: NDArray[np.int64], *, seconds: float, loss_of: str = "mean"
) -> EpochStats:
    """Statistics of videos from their logits (V, S, R, classes): the mean of all decides.

    Args:
        seconds: that the logits took; `batch_time` is the share of one video.
        loss_of: the loss is that of the `mean` of the segments, or of their `sum`.

    Raises:
        NotFiniteError: the network's weights or outputs are no longer finite.
    """
    scores = logits.mean(axis=(1, 2))
    judged = logits.sum(axis=(1, 2)) if loss_of == "sum" else scores
    loss = F.cross_entropy(torch.from_numpy(judged), torch.from_numpy(labels)).item()
    if not np.isfinite(loss):
        raise NotFiniteError(f"the validation loss is {loss}")
    return EpochStats(
        videos=len(labels),
        top1=top_k_correct(scores, labels, 1),
        top5=top_k_correct(scores, labels, 5),
        loss=loss,
        batch_time=seconds / len(labels),
        data_time=0.0,
        total_time=seconds,
        segments=tuple(
            top_k_correct(alone, labels, 1) for alone in logits.mean(axis=2).swapaxes(0, 1)
        ),
    )
