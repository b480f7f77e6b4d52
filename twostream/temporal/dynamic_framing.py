"""Dynamic framing: each frame gathers the similar frames around it into a snippet of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twostream.errors import InputError
from twostream.temporal.fewer_frames import sample_frames
from twostream.temporal.frame_choice import choose_frames, first_of_each_choice
from twostream.temporal.padding import kept_positions, take_frames, zero_padding
from twostream.temporal.snippet_gru import SnippetGru
from twostream.temporal.tcn import Tcn

ENCODERS = ("gru", "tcn")
KEEP = ("all", "sampled", "distinct")


class DynamicFraming(nn.Module):
    """Replaces each frame by an encoding of the k frames around it that are most like it.

    The frames are chosen by `choose_frames`, without gradient, and put in temporal order; what
    encodes them learns.

    Args:
        encoder: `gru`, its last state, or `tcn`, two blocks of kernel 3, the last frame of it.
        residual: add the frame itself to its encoding.
        keep: `all` frames; a quarter of them, `sampled` as by random_sampling; or `distinct`, only
            the first frame of each chosen set, as by dedup. Others are not even encoded.

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
        positions, real = choose_frames(features, lengths, k=self.k)
        centres = features
        if self.keep != "all":
            kept, lengths = kept_positions(self._kept(positions, real, lengths))
            positions, real = take_frames(positions, kept), take_frames(real, kept)
            centres = take_frames(features, kept)
        encoded = self.encoder(features, positions, real)
        if self.residual:
            encoded = encoded + centres
        return zero_padding(encoded, lengths), lengths

    def _kept(self, positions: Tensor, real: Tensor, lengths: Tensor) -> Tensor:
        if self.keep == "distinct":
            return first_of_each_choice(positions, real, lengths)
        return sample_frames(lengths, positions.shape[1], part=4, at_random=self.training)


class SnippetTcn(nn.Module):
    """A TCN over each of many short lists of frames; what it says at the last one."""

    def __init__(self, features: int, *, dropout: float) -> None:
        super().__init__()
        self.tcn = Tcn(features, width=features, blocks=2, dropout=dropout)

    def forward(self, features: Tensor, positions: Tensor, real: Tensor) -> Tensor:
        """As `SnippetGru.forward`: (N, T, D) and snippets (N, M, k) -> (N, M, D)."""
        sequence = torch.arange(features.shape[0], device=features.device)[:, None, None]
        snippets = features[sequence, positions] * real[..., None].to(features.dtype)
        encoded: Tensor = self.tcn.encode(snippets.flatten(0, 1), real.flatten(0, 1))
        return encoded[:, -1].unflatten(0, positions.shape[:2])
