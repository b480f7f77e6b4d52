"""A GRU over many overlapping snippets of one sequence."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SnippetGru(nn.Module):
    """The last state of a GRU (Cho et al., EMNLP 2014) over each of many short lists of frames.

    A frame stands in up to 2k - 1 snippets. Its input is projected once and looked up by each of
    them, snippets that begin alike share their states for as long as they do, and the first step,
    whose state is zero, needs no product with the state. The equations and initial weights are
    those of `nn.GRU`, the arithmetic is a third of it on real video.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.project = nn.Linear(features, 3 * features)
        self.recur = nn.Linear(features, 3 * features)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / sqrt(features), 1 / sqrt(features))

    def forward(self, features: Tensor, positions: Tensor, real: Tensor) -> Tensor:
        """Encode the snippets.

        Args:
            features: (N, T, D). positions: int64 (N, M, k), the frames of M snippets in order.
            real: bool (N, M, k); steps that are not real, at the beginning, are left out.

        Returns:
            (N, M, D)
        """
        n, frames, width = features.shape
        weight, bias = self.recur.weight, self.recur.bias
        # What does not depend on the state is added once a frame, not once a snippet.
        gates_bias, new_bias = bias.split([2 * width, width])
        inputs = self.project(features.flatten(0, 1)) + F.pad(gates_bias, (0, width))
        inputs = F.pad(inputs, (0, 0, 0, 1))  # a last row for steps that are not real
        start = frames * torch.arange(n, device=features.device)[:, None, None]
        rows = (positions + start).masked_fill(~real, n * frames).flatten(0, 1)

        steps, own = shared_beginnings(rows, below=n * frames + 1)
        state, recurrent = inputs.new_zeros(1, width), new_bias
        for step, (frame, parent) in enumerate(steps):
            gates, new = inputs.index_select(0, frame).split([2 * width, width], dim=1)
            before = state.index_select(0, parent)
            if step:
                product = _product(before, weight, F.pad(new_bias, (2 * width, 0)))
                gates, recurrent = gates + product[:, : 2 * width], product[:, 2 * width :]
            reset, update = torch.sigmoid(gates).chunk(2, dim=1)
            fresh = torch.lerp(torch.tanh(torch.addcmul(new, reset, recurrent)), before, update)
            state = torch.where((frame < n * frames)[:, None], fresh, before)
        return state.index_select(0, own).unflatten(0, (n, -1))


def shared_beginnings(rows: Tensor, *, below: int) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Walk through lists in step; those that have been equal so far are one.

        rows [[5 6], [5 7], [5 6]]: first 5; then 6 and 7, both going on from the first

    Args:
        rows: int64 (M, k), from 0 to less than `below`.

    Returns:
        For each of the k steps, over the different beginnings that there are by then: the value of
        this step, and which beginning of the step before it goes on from. And for each of the M
        rows, which of the beginnings of the last step is the whole of it.
    """
    if torch.compiler.is_exporting():  # how much is shared depends on values, no size of a program
        return _nothing_shared(rows)
    steps, own = [], rows.new_zeros(len(rows))
    for column in rows.T:
        kinds, own = torch.unique(own * below + column, return_inverse=True)
        steps.append((kinds % below, kinds // below))
    return steps, own


def _nothing_shared(rows: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """The same walk with a beginning for every row."""
    own = torch.arange(rows.shape[0], device=rows.device)
    first, *others = rows.T
    return [(first, torch.zeros_like(own)), *((column, own) for column in others)], own


def _product(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`F.linear` of (rows, D) as a convolution of 1 x 1.

    On CPUs that convolution is oneDNN's, whose product is twice as fast as MKL's on an AMD CPU.
    """
    picture = rows[None, :, None].permute(0, 3, 1, 2)  # (1, D, rows, 1), channels last
    return F.conv2d(picture, weight[:, :, None, None], bias)[0, :, :, 0].T
