"""A GRU over many overlapping snippets of one sequence, computed on their prefix tree."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
