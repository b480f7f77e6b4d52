"""Which frames belong together: for each frame the most similar ones around it."""

from __future__ import annotations

from math import inf, sqrt

import torch
from torch import Tensor

from twostream.temporal.padding import true_frames


def choose_frames(features: Tensor, lengths: Tensor, *, k: int) -> tuple[Tensor, Tensor]:
    """For each frame t the k frames s, |s - t| < k, with the highest x_t . x_s / sqrt(D).

    Ties go to the earlier frame. No gradient flows through the choice. Near an end of the sequence
    the window has k frames, elsewhere up to 2k - 1; a sequence shorter than k has fewer than asked.

    Args:
        features: (N, T, D). lengths: int64 (N,).

    Returns:
        Chosen positions int64 (N, T, k) in temporal order, and whether each is a choice, bool
        (N, T, k): where fewer than k could be chosen, the first ones are not.
    """
    frames = features.shape[1]
    features = features.detach()
    scores = features @ features.transpose(1, 2) / sqrt(features.shape[2])
    offsets = torch.arange(1 - k, k, device=features.device)
    window = torch.arange(frames, device=features.device)[:, None] + offsets
    inside = (window >= 0) & (window < lengths[:, None, None])
    inside &= true_frames(lengths, frames)[:, :, None]
    window = window.clamp(0, frames - 1).expand_as(inside)
    near = scores.gather(2, window).masked_fill(~inside, -inf)
    best = near.sort(dim=2, descending=True, stable=True).indices[..., :k]
    real, positions = inside.gather(2, best), window.gather(2, best)
    ordered = positions.masked_fill(~real, -1).sort(dim=2).values
    return ordered.clamp(min=0), ordered >= 0


def first_of_each_choice(positions: Tensor, real: Tensor, lengths: Tensor) -> Tensor:
    """Mark the frames whose chosen set no earlier frame of the sequence has: bool (N, T)."""
    n, frames, _ = positions.shape
    sequence = torch.arange(n, device=positions.device)[:, None, None].expand(-1, frames, 1)
    rows = torch.cat([sequence, positions.masked_fill(~real, -1)], dim=2).flatten(0, 1)
    kinds = rows.unique(dim=0, return_inverse=True)[1]
    place = torch.arange(len(rows), device=rows.device)
    first = torch.full_like(place, len(rows)).scatter_reduce(0, kinds, place, "amin")
    return (first[kinds] == place).unflatten(0, (n, frames)) & true_frames(lengths, frames)
