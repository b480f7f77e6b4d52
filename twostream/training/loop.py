"""One epoch of training, and the logits of a list of videos. No files, no options."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fusion.metrics import top_k_correct
from twostream.compute.numbers import NotFiniteError

Batches = Iterable[tuple[Tensor, Sequence[int]]]  # clips (N, S, T, C, H, W) and video indices


@dataclass(frozen=True, slots=True)
class EpochStats:
    """What one pass over some videos gave.

    Attributes:
        videos: seen so far.
        top1, top5: correctly recognised ones of them.
        loss: mean cross-entropy of a video, natural logarithm.
        batch_time, data_time: mean seconds of a batch, and of waiting for its data.
        total_time: seconds of the whole pass.
        segments: top-1 of each segment alone, where they were looked at one by one.
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
    """How far an epoch has come: sums over its batches, from which it can go on."""

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


def train_one_epoch(
    step: Callable[[Tensor, Tensor], tuple[float, Tensor]],
    batches: Batches,
    *,
    labels: Tensor,
    progress: Progress,
    after_step: Callable[[], None] = lambda: None,
) -> EpochStats:
    """Take a step on every batch once.

    Args:
        step: clips (N, S, T, C, H, W) and labels (N,) -> the sum of the losses, and what the
            network said before the step, (N, classes).
        labels: label of every video; batches index into it.
        progress: of the batches before these; brought up to date with every step.
        after_step: called when a step is done and `progress` tells so.

    Raises:
        NotFiniteError: the loss of a batch is not finite; the weights are those before it.
    """
    start = time.perf_counter()
    for clips, indices in batches:
        loaded = time.perf_counter()
        target = labels[list(indices)]
        try:
            loss, scores = step(clips, target)
        except NotFiniteError as error:
            raise NotFiniteError(f"batch {progress.batches + 1}: {error}") from error
        progress.add(loss, scores.numpy(), target.numpy())
        progress.batch_time += time.perf_counter() - start
        progress.data_time += loaded - start
        after_step()
        start = time.perf_counter()
    return progress.stats()


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
