"""One step: the gradient of a batch, in as many parts as memory asks for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from twostream.compute.precision import autocast


def accumulate_gradient(
    network: nn.Module,
    clips: Tensor,
    target: Tensor,
    *,
    consensus: Callable[[Tensor], Tensor],
    device: torch.device,
    precision: str,
    parts: int = 1,
    divisor: float | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, Tensor]:
    """Set the gradient of the batch's mean cross-entropy; return the loss sum and (N, classes).

    A loss that is not finite is returned too: other processes wait for our gradient.
    The gradient is that of the whole batch whatever the number of parts, but batch normalisation
    sees one part at a time.

    Args:
        clips: uint8 (N, S, T, C, H, W). target: labels (N,), or shares of classes (N, classes).
        precision: `fp32` or `bf16`, of the network alone: consensus and loss are float32.
        parts: how many the batch is cut in; a part goes through the network at once.
        divisor: the gradient is that of the losses' sum divided by this; without, by N. Where
            `network` is a DistributedDataParallel, which takes the mean of the gradients of P
            processes, a P-th of the size of their common batch gives the gradient of its mean loss.
        label_smoothing: this much of the target is spread evenly over the classes (Szegedy et al.,
            CVPR 2016, section 7).
    """
    network.zero_grad(set_to_none=True)
    total, outputs = 0.0, []
    joined = network if isinstance(network, DistributedDataParallel) else None
    pieces = list(zip(clips.chunk(parts), target.chunk(parts), strict=True))
    for number, (part, part_target) in enumerate(pieces, 1):
        # Processes exchange their gradients once, while the last part's are computed.
        with joined.no_sync() if joined and number < len(pieces) else nullcontext():
            with autocast(device, precision):
                segments = network(part.to(device, non_blocking=True))
            logits = consensus(segments.float())
            loss = F.cross_entropy(
                logits, part_target.to(device), reduction="sum", label_smoothing=label_smoothing
            )
            (loss / (divisor or len(target))).backward()
        total += loss.item()  # waits for the device: the times of a step are true after it
        outputs.append(logits.detach().cpu())
    return total, torch.cat(outputs)
