"""Padded batches of frames, and selection: subsampling, near-duplicates, most similar frames."""

from __future__ import annotations

from math import inf, sqrt

import torch
from torch import Tensor, nn


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


class RandomSampling(nn.Module):
    """Keeps a quarter of the frames (at least one): random in training, evenly spaced in testing.

    Args:
        part: one frame in `part` is kept.
    """

    def __init__(self, in_features: int, *, part: int = 4) -> None:
        super().__init__()
        self.part, self.out_features = part, in_features

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, max(T // part, 1), D), in temporal order."""
        frames = features.shape[1]
        keep = sample_frames(lengths, frames, part=self.part, at_random=self.training)
        return drop_frames(features, keep)


class Dedup(nn.Module):
    """Drops frames whose k most similar frames are also those of an earlier frame.

    The hash map of the notes, keyed by the sets themselves and not by their mean and deviation,
    which different sets can share. A still passage of any length leaves few frames.
    """

    def __init__(self, in_features: int, *, k: int = 8) -> None:
        super().__init__()
        self.k, self.out_features = k, in_features

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, T', D) with T' <= T."""
        positions, valid = select_similar_frames(features, lengths, k=self.k)
        return drop_frames(features, first_of_equal_sets(positions, valid, lengths))


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


def sample_frames(lengths: Tensor, frames: int, *, part: int, at_random: bool) -> Tensor:
    """Select max(length // part, 1) frames of each sequence: bool (N, frames).

    Evenly spaced ones are floor(i (length - 1) / (count - 1)), the first and the last among them;
    random ones are drawn from torch's global generator, as in dropout.
    """
    counts = (lengths // part).clamp(min=1)[:, None]
    valid = valid_mask(lengths, frames)
    if at_random:
        draws = torch.rand(valid.shape, device=valid.device).masked_fill(~valid, 2.0)
        return (draws.argsort(dim=1).argsort(dim=1) < counts) & valid
    index = torch.arange(frames, device=valid.device)
    positions = index * (lengths[:, None] - 1) // (counts - 1).clamp(min=1)
    positions = positions.masked_fill(index >= counts, 0).clamp(max=frames - 1)
    return torch.zeros_like(valid).scatter(1, positions, True) & valid


def drop_frames(features: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Keep the frames of (N, T, D) that `keep`, bool (N, T), marks: (N, T', D) and lengths."""
    positions, lengths = mask_to_positions(keep)
    return zero_padding(gather_frames(features, positions), lengths), lengths
