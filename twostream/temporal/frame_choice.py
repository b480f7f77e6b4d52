"""Selection of similar frames: for each frame the k nearest neighbours in a window around it."""

from __future__ import annotations

from math import inf, sqrt

import torch
from torch import Tensor

from twostream.temporal.padding import valid_mask


def select_similar_frames(features: Tensor, lengths: Tensor, *, k: int) -> tuple[Tensor, Tensor]:
    """For each frame t the k frames s, |s - t| < k, with the highest x_t . x_s / sqrt(D).

    Ties go to the earlier frame. No gradient flows through the selection. Near either end of the
    sequence the window has k frames, elsewhere up to 2k - 1; a sequence shorter than k has fewer
    frames than are asked for.

    Args:
        features: (N, T, D). lengths: int64 (N,).

    Returns:
        Selected positions int64 (N, T, k) in temporal order, and which of them are valid, bool
        (N, T, k): where fewer than k frames exist, the first entries are not.
    """
    frames = features.shape[1]
    features = features.detach()
    scores = features @ features.transpose(1, 2) / sqrt(features.shape[2])
    offsets = torch.arange(1 - k, k, device=features.device)
    window = torch.arange(frames, device=features.device)[:, None] + offsets
    inside = (window >= 0) & (window < lengths[:, None, None])
    inside &= valid_mask(lengths, frames)[:, :, None]
    window = window.clamp(0, frames - 1).expand_as(inside)
    in_window = scores.gather(2, window).masked_fill(~inside, -inf)
    best = in_window.sort(dim=2, descending=True, stable=True).indices[..., :k]
    valid, positions = inside.gather(2, best), window.gather(2, best)
    ordered = positions.masked_fill(~valid, -1).sort(dim=2).values
    return ordered.clamp(min=0), ordered >= 0


def first_of_equal_sets(positions: Tensor, valid: Tensor, lengths: Tensor) -> Tensor:
    """Mark the frames whose set of similar frames no earlier frame shares: bool (N, T)."""
    n, frames, _ = positions.shape
    sequence = torch.arange(n, device=positions.device)[:, None, None].expand(-1, frames, 1)
    rows = torch.cat([sequence, positions.masked_fill(~valid, -1)], dim=2).flatten(0, 1)
    set_ids = rows.unique(dim=0, return_inverse=True)[1]
    index = torch.arange(len(rows), device=rows.device)
    first = torch.full_like(index, len(rows)).scatter_reduce(0, set_ids, index, "amin")
    return (first[set_ids] == index).unflatten(0, (n, frames)) & valid_mask(lengths, frames)
