"""Dynamic framing: each frame is encoded with the similar frames around it, as a snippet.

The snippets of a sequence overlap; a GRU over them is computed on their prefix tree.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostream.models.temporal.convolutions import Tcn
from twostream.models.temporal.frame_selection import (
    first_of_equal_sets,
    gather_frames,
    mask_to_positions,
    sample_frames,
    select_similar_frames,
    zero_padding,
)
from twostream_base.errors import InputError


class SnippetGru(nn.Module):
    """The last state of a GRU (Cho et al., EMNLP 2014) over each of many short lists of frames.

    A frame appears in up to 2k - 1 snippets. Its input is projected once and looked up by each of
    them, snippets with a common prefix share the states of that prefix, and the first step, whose
    state is zero, needs no product with the state. Equations and initial weights are those of
    `nn.GRU`; on real video the arithmetic is a third of it.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.project = nn.Linear(features, 3 * features)
        self.recur = nn.Linear(features, 3 * features)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / sqrt(features), 1 / sqrt(features))

    def forward(self, features: Tensor, positions: Tensor, valid: Tensor) -> Tensor:
        """Encode the snippets.

        Args:
            features: (N, T, D). positions: int64 (N, M, k), the frames of M snippets in order.
            valid: bool (N, M, k); steps at the beginning that are not valid are skipped.

        Returns:
            (N, M, D)
        """
        n, frames, width = features.shape
        weight, bias = self.recur.weight, self.recur.bias
        # What does not depend on the state is added once a frame, not once a snippet.
        gates_bias, new_bias = bias.split([2 * width, width])
        inputs = self.project(features.flatten(0, 1)) + F.pad(gates_bias, (0, width))
        inputs = F.pad(inputs, (0, 0, 0, 1))  # a last row, for steps that are not valid
        start = frames * torch.arange(n, device=features.device)[:, None, None]
        rows = (positions + start).masked_fill(~valid, n * frames).flatten(0, 1)

        levels, leaves = prefix_tree(rows, num_values=n * frames + 1)
        state, recurrent = inputs.new_zeros(1, width), new_bias
        for level, (frame, parent) in enumerate(levels):
            gates, new = inputs.index_select(0, frame).split([2 * width, width], dim=1)
            before = state.index_select(0, parent)
            if level:
                product = _linear_as_convolution(before, weight, F.pad(new_bias, (2 * width, 0)))
                gates, recurrent = gates + product[:, : 2 * width], product[:, 2 * width :]
            reset, update = torch.sigmoid(gates).chunk(2, dim=1)
            candidate = torch.tanh(torch.addcmul(new, reset, recurrent))
            after = torch.lerp(candidate, before, update)
            state = torch.where((frame < n * frames)[:, None], after, before)
        return state.index_select(0, leaves).unflatten(0, (n, -1))


def prefix_tree(rows: Tensor, *, num_values: int) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """The prefix tree (trie) of equally long lists, level by level.

        rows [[5 6], [5 7], [5 6]]: level 0 has the node 5; level 1 has 6 and 7, both children of 5

    Args:
        rows: int64 (M, k), from 0 to less than `num_values`.

    Returns:
        For each of the k levels the values of its nodes, and the index of each node's parent in
        the level above; and for each of the M rows its leaf, a node of the last level.
    """
    if torch.compiler.is_exporting():
        # Sizes that depend on values cannot be exported: every row is a branch of its own.
        leaves = torch.arange(rows.shape[0], device=rows.device)
        first, *others = rows.T
        return [(first, torch.zeros_like(leaves)), *((c, leaves) for c in others)], leaves
    levels, leaves = [], rows.new_zeros(len(rows))
    for column in rows.T:
        nodes, leaves = torch.unique(leaves * num_values + column, return_inverse=True)
        levels.append((nodes % num_values, nodes // num_values))
    return levels, leaves


def _linear_as_convolution(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`F.linear` of (rows, D) as a 1 x 1 convolution.

    On CPUs that convolution is oneDNN's, whose product is twice as fast as MKL's on an AMD CPU.
    """
    picture = rows[None, :, None].permute(0, 3, 1, 2)  # (1, D, rows, 1), channels last
    return F.conv2d(picture, weight[:, :, None, None], bias)[0, :, :, 0].T


ENCODERS = ("gru", "tcn")
KEEP = ("all", "sampled", "distinct")


class Snippets(NamedTuple):
    """Which frames dynamic framing takes.

    Attributes:
        positions, valid: of M snippets, as `SnippetGru.forward` takes them.
        centres: int64 (N, M), the frame that each snippet replaces; None: M is T, each frame.
        lengths: int64 (N,), how many snippets each sequence has.
    """

    positions: Tensor
    valid: Tensor
    centres: Tensor | None
    lengths: Tensor


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

    def select(self, features: Tensor, lengths: Tensor) -> Snippets:
        """The frames that are similar in these features, (N, T, D) of any D."""
        positions, valid = select_similar_frames(features, lengths, k=self.k)
        if self.keep == "all":
            return Snippets(positions, valid, None, lengths)
        if self.keep == "distinct":
            keep = first_of_equal_sets(positions, valid, lengths)
        else:
            frames = positions.shape[1]
            keep = sample_frames(lengths, frames, part=4, at_random=self.training)
        centres, lengths = mask_to_positions(keep)
        return Snippets(
            gather_frames(positions, centres), gather_frames(valid, centres), centres, lengths
        )

    def forward(
        self, features: Tensor, lengths: Tensor, snippets: Snippets | None = None
    ) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, T', D); T' is T unless `keep` drops frames.

        Args:
            snippets: as `select` has found them in other features of the same frames.
        """
        snippets = snippets or self.select(features, lengths)
        encoded = self.encoder(features, snippets.positions, snippets.valid)
        if self.residual:
            frames = snippets.centres
            encoded = encoded + (features if frames is None else gather_frames(features, frames))
        return zero_padding(encoded, snippets.lengths), snippets.lengths


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
