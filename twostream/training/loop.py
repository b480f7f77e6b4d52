"""One epoch of training, and the logits of a list of videos. No files, no options."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from fusion.metrics import top_k_correct
from twostream.training.precision import autocast

Batches = Iterable[tuple[Tensor, Sequence[int]]]  # clips (N, S, T, C, H, W) and video indices


class NotFiniteError(ArithmeticError):
    """The loss became infinite or not a number."""


@dataclass(frozen=True, slots=True)
class EpochStats:
    """What one pass over some videos gave.

    Attributes:
        videos: seen so far.
        top1, top5: correctly recognised ones of them.
        loss: mean cross-entropy of a video, natural logarithm.
        batch_time, data_time: mean seconds of a batch, and of waiting for its data.
    """

    videos: int
    top1: int
    top5: int
    loss: float
    batch_time: float
    data_time: float


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

    def stats(self) -> EpochStats:
        """The means so far; at least one batch must have been seen."""
        return EpochStats(
            videos=self.videos,
            top1=self.top1,
            top5=self.top5,
            loss=self.loss / self.videos,
            batch_time=self.batch_time / self.batches,
            data_time=self.data_time / self.batches,
        )


def train_one_epoch(
    network: nn.Module,
    batches: Batches,
    *,
    labels: Tensor,
    consensus: Callable[[Tensor], Tensor],
    optimizer: Optimizer,
    device: torch.device,
    precision: str,
    accumulate: int = 1,
    progress: Progress,
    after_step: Callable[[], None] = lambda: None,
) -> EpochStats:
    """Train on every batch once: cross-entropy of the consensus of the segments.

    Args:
        labels: label of every video; batches index into it.
        accumulate: parts that a batch goes through the network in, to save memory. The step is that
            of the whole batch, but batch normalisation sees one part at a time.
        precision: `fp32` or `bf16`, of the network alone: consensus and loss are float32.
        progress: of the batches before these; brought up to date with every step.
        after_step: called when a step is done and `progress` tells so.

    Raises:
        NotFiniteError: the loss of a batch is not finite; the weights are those before it.
    """
    network.train()
    start = time.perf_counter()
    for clips, indices in batches:
        loaded = time.perf_counter()
        target = labels[list(indices)]
        optimizer.zero_grad(set_to_none=True)
        outputs = []
        for part, part_target in zip(
            clips.chunk(accumulate), target.chunk(accumulate), strict=True
        ):
            with autocast(device, precision):
                segments = network(part.to(device, non_blocking=True))
            logits = consensus(segments.float())
            loss = F.cross_entropy(logits, part_target.to(device), reduction="sum")
            if not torch.isfinite(loss):
                raise NotFiniteError(f"the loss of batch {progress.batches + 1} is {loss.item()}")
            (loss / len(target)).backward()
            progress.loss += loss.item()  # waits for the device: the times are true after it
            outputs.append(logits.detach().cpu())
        optimizer.step()
        scores, truth = torch.cat(outputs).numpy(), target.numpy()
        progress.batches += 1
        progress.videos += len(truth)
        progress.top1 += top_k_correct(scores, truth, 1)
        progress.top5 += top_k_correct(scores, truth, 5)
        progress.batch_time += time.perf_counter() - start
        progress.data_time += loaded - start
        after_step()
        start = time.perf_counter()
    return progress.stats()


def predict(
    network: nn.Module,
    batches: Batches,
    *,
    device: torch.device,
    precision: str,
    snippets_at_once: int,
) -> Iterator[tuple[Sequence[int], NDArray[np.float32]]]:
    """Yield video indices and segment logits (N, S, classes) of each batch.

    Args:
        snippets_at_once: how many snippets enter the network together, however many views a video
            has: it bounds the memory.
    """
    network.eval()
    for clips, indices in batches:
        snippets = clips.reshape(-1, 1, *clips.shape[2:])
        with torch.inference_mode(), autocast(device, precision):
            logits = torch.cat(
                [network(part.to(device)).cpu() for part in snippets.split(snippets_at_once)]
            )
        yield indices, logits.float().reshape(*clips.shape[:2], -1).numpy()


def evaluate(
    logits: NDArray[np.float32], labels: NDArray[np.int64], *, seconds: float
) -> EpochStats:
    """Statistics of videos from their logits (V, S, classes): the segments' mean decides.

    `batch_time` is the share of one video in `seconds`.

    Raises:
        NotFiniteError: the network's weights or outputs are no longer finite.
    """
    scores = logits.mean(axis=1)
    loss = F.cross_entropy(torch.from_numpy(scores), torch.from_numpy(labels)).item()
    if not np.isfinite(loss):
        raise NotFiniteError(f"the validation loss is {loss}")
    return EpochStats(
        videos=len(labels),
        top1=top_k_correct(scores, labels, 1),
        top5=top_k_correct(scores, labels, 5),
        loss=loss,
        batch_time=seconds / len(labels),
        data_time=0.0,
    )
