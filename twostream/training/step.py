"""One step: the gradient of a batch, in as many parts as memory asks for."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostream.training.precision import autocast


class NotFiniteError(ArithmeticError):
    """The loss became infinite or not a number."""


def accumulate_gradient(
    network: nn.Module,
    clips: Tensor,
    target: Tensor,
    *,
    consensus: Callable[[Tensor], Tensor],
    device: torch.device,
    precision: str,
    parts: int = 1,
    whole: int = 0,
    label_smoothing: float = 0.0,
) -> tuple[float, Tensor]:
    """Set the gradient of the batch's mean cross-entropy; return the loss sum and (N, classes).

    The gradient is that of the whole batch whatever the number of parts, but batch normalisation
    sees one part at a time.

    Args:
        clips: uint8 (N, S, T, C, H, W). target: labels (N,), or shares of classes (N, classes).
        precision: `fp32` or `bf16`, of the network alone: consensus and loss are float32.
        parts: how many the batch is cut in; a part goes through the network at once.
        whole: size of the batch that these N videos are a share of: the gradient is then their
            part of the whole mean's.
        label_smoothing: this much of the target is spread evenly over the classes (Szegedy et al.,
            CVPR 2016, section 7).

    Raises:
        NotFiniteError: the loss is not finite; the weights have not been touched.
    """
    network.zero_grad(set_to_none=True)
    total, outputs = 0.0, []
    for part, part_target in zip(clips.chunk(parts), target.chunk(parts), strict=True):
        with autocast(device, precision):
            segments = network(part.to(device, non_blocking=True))
        logits = consensus(segments.float())
        loss = F.cross_entropy(
            logits, part_target.to(device), reduction="sum", label_smoothing=label_smoothing
        )
        (loss / (whole or len(target))).backward()
        total += loss.item()  # waits for the device: the times of a step are true after it
        outputs.append(logits.detach().cpu())
    # Only here: other processes may wait for ours in the backward pass (see shared_batch_norm).
    if not math.isfinite(total):
        raise NotFiniteError(f"the loss is {total}")
    return total, torch.cat(outputs)
