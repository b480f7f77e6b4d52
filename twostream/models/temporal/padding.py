"""Padded batches of sequences: valid-frame masks, zeroed padding, and gathering of frames."""

from __future__ import annotations

import torch
from torch import Tensor


def valid_mask(lengths: Tensor, frames: int) -> Tensor:
    """Which frames lie within their sequence: int64 (N,) -> bool (N, frames)."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def zero_padding(features: Tensor, lengths: Tensor) -> Tensor:
    """Set the frames of (N, T, D) beyond each length to zero."""
    return features * valid_mask(lengths, features.shape[1])[:, :, None].to(features.dtype)


def mask_to_positions(keep: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a mask of frames, bool (N, T), into their positions in temporal order.

    Returns:
        int64 (N, M), padded with 0, M the largest number of selected frames, at least 1; and the
        number of selected frames (N,).
    """
    frames = keep.shape[1]
    order = torch.arange(frames, device=keep.device).expand_as(keep)
    counts = keep.sum(dim=1)
    longest = max(int(counts.max()), 1)
    positions = order.masked_fill(~keep, frames).sort(dim=1).values[:, :longest]
    return positions.masked_fill(positions == frames, 0), counts


def gather_frames(values: Tensor, positions: Tensor) -> Tensor:
    """`values[n, positions[n, m]]`: (N, T, D) and int64 (N, M) -> (N, M, D)."""
    return values.gather(1, positions[:, :, None].expand(-1, -1, values.shape[2]))
