"""A GRU over many overlapping snippets of one sequence."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SnippetGru(nn.Module):
    """The last state of a GRU (Cho et al., EMNLP 2014) over each of many short lists of frames.

    A frame stands in up to 2k - 1 snippets. Its input is projected once and looked up by each of
    them, and the first step, whose state is zero, needs no product with the state: that is less
    than half of the arithmetic of `nn.GRU`, whose equations and initial weights these are.
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
        known = F.pad(bias[: 2 * width], (0, width))
        inputs = (self.project(features) + known).flatten(0, 1)
        start = frames * torch.arange(n, device=features.device)[:, None, None]
        rows = (positions + start).flatten(0, 1).T  # (k, N * M)
        real = real.flatten(0, 1).T[:, :, None]
        state = inputs.new_zeros(rows.shape[1], width)
        for step in range(len(rows)):
            gates, new = inputs.index_select(0, rows[step]).split([2 * width, width], dim=1)
            recurrent = bias[2 * width :]
            if step:
                gates = gates + F.linear(state, weight[: 2 * width])
                recurrent = F.linear(state, weight[2 * width :], recurrent)
            reset, update = torch.sigmoid(gates).chunk(2, dim=1)
            fresh = torch.lerp(torch.tanh(new + reset * recurrent), state, update)
            state = torch.where(real[step], fresh, state)
        return state.unflatten(0, (n, -1))
