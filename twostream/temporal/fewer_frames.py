"""Temporal modules that drop frames: subsampling and removal of near-duplicates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twostream.temporal.frame_choice import first_of_equal_sets, select_similar_frames
from twostream.temporal.padding import (
    gather_frames,
    mask_to_positions,
    valid_mask,
    zero_padding,
)


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
