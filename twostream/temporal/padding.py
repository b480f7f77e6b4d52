"""Sequences of unlike length in one tensor: which frames are true, and keeping some of them."""

from __future__ import annotations

import torch
from torch import Tensor


def true_frames(lengths: Tensor, frames: int) -> Tensor:
    """Bool (N, frames): whether a frame lies within its sequence, given `lengths` int64 (N,)."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def zero_padding(features: Tensor, lengths: Tensor) -> Tensor:
    """Set the frames of (N, T, D) beyond each length to zero."""
    return features * true_frames(lengths, features.shape[1])[:, :, None].to(features.dtype)


def kept_positions(keep: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a choice of frames, bool (N, T), into their positions in temporal order.

    Returns:
        int64 (N, M), M the largest count of kept frames, at least 1, filled up with 0; and the
        counts (N,).
    """
    frames = keep.shape[1]
    order = torch.arange(frames, device=keep.device).expand_as(keep)
    counts = keep.sum(dim=1)
    most = max(int(counts.max()), 1)
    positions = order.masked_fill(~keep, frames).sort(dim=1).values[:, :most]
    return positions.masked_fill(positions == frames, 0), counts


def take_frames(values: Tensor, positions: Tensor) -> Tensor:
    """`values[n, positions[n, m]]`: (N, T, D) and int64 (N, M) -> (N, M, D)."""
    return values.gather(1, positions[:, :, None].expand(-1, -1, values.shape[2]))
