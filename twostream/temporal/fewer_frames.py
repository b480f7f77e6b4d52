"""Modules that keep some frames and drop the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twostream.temporal.frame_choice import choose_frames, first_of_each_choice
from twostream.temporal.padding import kept_positions, take_frames, true_frames, zero_padding


class RandomSampling(nn.Module):
    """Keeps a quarter of the frames (at least one): at random in training, evenly in testing."""

    def __init__(self, in_features: int, *, part: int = 4) -> None:
        super().__init__()
        self.part, self.out_features = part, in_features

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, max(T // part, 1), D), in temporal order."""
        frames = features.shape[1]
        keep = sample_frames(lengths, frames, part=self.part, at_random=self.training)
        return _keep(features, keep)


class Dedup(nn.Module):
    """Drops frames whose k most similar frames are also those of an earlier frame.

    The notes' hash map, by the sets themselves and not by their mean and deviation, which
    different sets can share. A still passage of any length leaves few frames.
    """

    def __init__(self, in_features: int, *, k: int = 8) -> None:
        super().__init__()
        self.k, self.out_features = k, in_features

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, T', D) with T' <= T."""
        positions, real = choose_frames(features, lengths, k=self.k)
        return _keep(features, first_of_each_choice(positions, real, lengths))


def sample_frames(lengths: Tensor, frames: int, *, part: int, at_random: bool) -> Tensor:
    """Choose max(length // part, 1) frames of each sequence: bool (N, frames).

    Evenly spaced ones are floor(i (length - 1) / (count - 1)), the first and the last among them;
    random ones follow torch's own generator, as dropout does.
    """
    counts = (lengths // part).clamp(min=1)[:, None]
    true = true_frames(lengths, frames)
    if at_random:
        draws = torch.rand(true.shape, device=true.device).masked_fill(~true, 2.0)
        return (draws.argsort(dim=1).argsort(dim=1) < counts) & true
    places = torch.arange(frames, device=true.device)
    chosen = places * (lengths[:, None] - 1) // (counts - 1).clamp(min=1)
    chosen = chosen.masked_fill(places >= counts, 0).clamp(max=frames - 1)
    return torch.zeros_like(true).scatter(1, chosen, True) & true


def _keep(features: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    positions, counts = kept_positions(keep)
    return zero_padding(take_frames(features, positions), counts), counts
