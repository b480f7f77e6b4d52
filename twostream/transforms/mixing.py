"""Mixing the videos of a batch: pure functions on tensors, their random numbers drawn apart.

Clips are (N, S, T, C, H, W) uint8, targets (N, classes) float32 with rows that sum to 1. Video i is
mixed with video order[i]. Flow mixes as RGB does: its zero, 128, stays where it is.
"""

from __future__ import annotations

import torch
from numpy.random import Generator
from torch import Tensor

from twostream.transforms.clips import Box


def mixup(clips: Tensor, targets: Tensor, *, order: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Lay the other video over each one: `share` of its own values, the rest of the other's.

    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, section 2. Values are
    rounded to whole ones.
    """
    mixed = share * clips.float() + (1 - share) * clips[order].float()
    return mixed.round().to(clips.dtype), _mix(targets, order=order, share=share)


def cutmix(clips: Tensor, targets: Tensor, *, order: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """Paste `box` of the other video into all frames of each one; targets follow the areas.

    Yun et al., "CutMix", ICCV 2019, section 3.1.
    """
    top, left, height, width = box
    mixed = clips.clone()
    part = (..., slice(top, top + height), slice(left, left + width))
    mixed[part] = clips[order][part]
    share = 1 - height * width / (clips.shape[-2] * clips.shape[-1])
    return mixed, _mix(targets, order=order, share=share)


def mix_batch(
    clips: Tensor, targets: Tensor, *, mixup_alpha: float, cutmix_alpha: float, rng: Generator
) -> tuple[Tensor, Tensor]:
    """Draw how to mix a batch, one way for all of it, and mix it; both alphas: a coin decides."""
    order = torch.from_numpy(rng.permutation(len(clips))).to(clips.device, non_blocking=True)
    cuts = cutmix_alpha > 0 and (mixup_alpha == 0 or rng.random() < 0.5)
    share = draw_share(alpha=cutmix_alpha if cuts else mixup_alpha, rng=rng)
    if not cuts:
        return mixup(clips, targets, order=order, share=share)
    box = draw_cut(*clips.shape[-2:], share=share, rng=rng)
    return cutmix(clips, targets, order=order, box=box)


def draw_share(*, alpha: float, rng: Generator) -> float:
    """How much of itself a video keeps: 0 to 1, of Beta(alpha, alpha)."""
    return float(rng.beta(alpha, alpha))


def draw_cut(height: int, width: int, *, share: float, rng: Generator) -> Box:
    """A box of (1 - share) of the frame around any of its points, cut off at the borders."""
    tall, wide = (round(side * (1 - share) ** 0.5) for side in (height, width))
    top, left = int(rng.integers(height)) - tall // 2, int(rng.integers(width)) - wide // 2
    bottom, right = min(top + tall, height), min(left + wide, width)
    top, left = max(top, 0), max(left, 0)
    return Box(top, left, bottom - top, right - left)


def _mix(targets: Tensor, *, order: Tensor, share: float) -> Tensor:
    return share * targets + (1 - share) * targets[order]
