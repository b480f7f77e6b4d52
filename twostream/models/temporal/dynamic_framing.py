"""Dynamic framing: each frame is encoded with the similar frames around it, as a snippet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twostream.models.temporal.frame_selection import (
    first_of_equal_sets,
    sample_frames,
    select_similar_frames,
)
from twostream.models.temporal.padding import gather_frames, mask_to_positions, zero_padding
from twostream.models.temporal.snippet_gru import SnippetGru
from twostream.models.temporal.tcn import Tcn
from twostream_base.errors import InputError

ENCODERS = ("gru", "tcn")
KEEP = ("all", "sampled", "distinct")


class DynamicFraming(nn.Module):
    """Replaces each frame by an encoding of the k most similar frames around it.

    The frames are selected by `select_similar_frames`, without gradient, and put in temporal
    order; the encoder learns.

    Args:
        encoder: `gru`, its last state, or `tcn`, the last frame of two blocks of kernel 3.
        residual: add the frame itself to its encoding.
        keep: `all` frames; a quarter of them, `sampled` as by random_sampling; or `distinct`, only
            the first frame of equal sets, as by dedup. Other frames are not even encoded.

    Raises:
        InputError: an unknown encoder or keep, or k below 1.
    """

    def __init__(
        self,
        in_features: int,
        *,
        k: int = 12,
        encoder: str = "gru",
        residual: bool = True,
        keep: str = "all",
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if encoder not in ENCODERS or keep not in KEEP or k < 1:
            raise InputError(
                f"dynamic_framing: encoder={encoder!r} (allowed: {', '.join(ENCODERS)}), "
                f"keep={keep!r} (allowed: {', '.join(KEEP)}), k={k} (at least 1)"
            )
        self.k, self.residual, self.keep = k, residual, keep
        self.encoder: nn.Module = (
            SnippetGru(in_features)
            if encoder == "gru"
            else SnippetTcn(in_features, dropout=dropout)
        )
        self.out_features = in_features

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, T', D); T' is T unless `keep` drops frames."""
        positions, valid = select_similar_frames(features, lengths, k=self.k)
        centres = features
        if self.keep != "all":
            if self.keep == "distinct":
                keep = first_of_equal_sets(positions, valid, lengths)
            else:
                frames = positions.shape[1]
                keep = sample_frames(lengths, frames, part=4, at_random=self.training)
            remaining, lengths = mask_to_positions(keep)
            positions, valid = gather_frames(positions, remaining), gather_frames(valid, remaining)
            centres = gather_frames(features, remaining)
        encoded = self.encoder(features, positions, valid)
        if self.residual:
            encoded = encoded + centres
        return zero_padding(encoded, lengths), lengths


class SnippetTcn(nn.Module):
    """A TCN over each of many short lists of frames; its output at the last frame."""

    def __init__(self, features: int, *, dropout: float) -> None:
        super().__init__()
        self.tcn = Tcn(features, width=features, blocks=2, dropout=dropout)

    def forward(self, features: Tensor, positions: Tensor, valid: Tensor) -> Tensor:
        """As `SnippetGru.forward`: (N, T, D) and snippets (N, M, k) -> (N, M, D)."""
        sequence = torch.arange(features.shape[0], device=features.device)[:, None, None]
        snippets = features[sequence, positions] * valid[..., None].to(features.dtype)
        encoded: Tensor = self.tcn.encode(snippets.flatten(0, 1), valid.flatten(0, 1))
        return encoded[:, -1].unflatten(0, positions.shape[:2])
