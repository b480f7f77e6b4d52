"""Local self-attention: each frame attends to a narrow band around it."""

from __future__ import annotations

from math import inf, sqrt

import torch
from torch import Tensor, nn

from twostream.models.temporal.frame_selection import valid_mask, zero_padding
from twostream_base.errors import InputError


class LocalAttention(nn.Module):
    """One layer of multi-head self-attention (Vaswani et al., NIPS 2017, section 3.2), made local.

    Frame t attends to the frames s with |s - t| < window / 2; residual and layer norm follow.

    Args:
        heads: must divide `in_features`.
        window: 8 or 16 in the notes; 8 gives 7 frames.
        top: keep only the `top` highest scores of each row of the band; 0 keeps all.

    Raises:
        InputError: heads do not divide the features, or the window is below 2.
    """

    def __init__(
        self,
        in_features: int,
        *,
        heads: int = 8,
        window: int = 8,
        top: int = 0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if in_features % heads or window < 2:
            raise InputError(
                f"local_attention: {heads} heads must divide {in_features} features, and a window "
                f"of {window} must be at least 2"
            )
        self.heads, self.window, self.top = heads, window, top
        self.query, self.key, self.value, self.out = (
            nn.Linear(in_features, in_features) for _ in range(4)
        )
        self.norm = nn.LayerNorm(in_features)
        self.dropout = nn.Dropout(dropout)
        self.out_features = in_features

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, T, D)."""
        query, key, value = (
            layer(features).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) / sqrt(query.shape[3])
        weights = self.dropout(self.mask_scores(scores, lengths).softmax(dim=3))
        attended = self.out((weights @ value).transpose(1, 2).flatten(2))
        return zero_padding(self.norm(features + self.dropout(attended)), lengths), lengths

    def mask_scores(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """Scores (N, heads, T, T), minus infinity outside the band.

        Rows of padding keep all scores: a softmax over nothing would be NaN.
        """
        frames = scores.shape[3]
        index = torch.arange(frames, device=scores.device)
        in_band = (index[:, None] - index).abs() * 2 < self.window
        valid = valid_mask(lengths, frames)
        allowed = (in_band & valid[:, None, :]) | ~valid[:, :, None]
        scores = scores.masked_fill(~allowed[:, None], -inf)
        if 0 < self.top < frames:
            lowest = scores.topk(self.top, dim=3).values[..., -1:]
            scores = scores.masked_fill(scores < lowest, -inf)
        return scores
