"""Temporal convolutional network (TCN): dilated causal convolutions with a residual path."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from twostream.models.temporal.padding import valid_mask


class Tcn(nn.Module):
    """Residual blocks of two causal convolutions each; block b has dilation 2**b.

    Bai et al., "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
    Sequence Modeling", 2018, section 3: weight norm, ReLU and dropout after each convolution, a
    1 x 1 convolution on the residual path where widths differ.
    """

    def __init__(
        self,
        in_features: int,
        *,
        width: int = 512,
        blocks: int = 1,
        kernel: int = 3,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        inputs = [in_features] + [width] * (blocks - 1)
        self.blocks = nn.ModuleList(
            CausalBlock(channels, width, kernel=kernel, dilation=2**b, dropout=dropout)
            for b, channels in enumerate(inputs)
        )
        self.out_features = width

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, T, width); no frame depends on a later one."""
        valid = valid_mask(lengths, features.shape[1])
        return self.encode(features, valid), lengths

    def encode(self, features: Tensor, valid: Tensor) -> Tensor:
        """The same with a mask, bool (N, T), whose valid frames may stand at the end."""
        channels, mask = features.transpose(1, 2), valid[:, None, :]
        for block in self.blocks:
            channels = block(channels, mask)
        return channels.transpose(1, 2)


class CausalBlock(nn.Module):
    """Two causal convolutions beside a residual path: (N, D, T) -> (N, width, T)."""

    def __init__(
        self, in_features: int, width: int, *, kernel: int, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, width, kernel, dilation=dilation))
            for channels in (in_features, width)
        )
        self.residual = nn.Conv1d(in_features, width, 1) if in_features != width else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.left_padding = (kernel - 1) * dilation

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """`valid` is bool (N, 1, T); the output at other frames is zero."""
        out = features
        for conv in self.convs:
            out = self.dropout(F.relu(conv(F.pad(out, (self.left_padding, 0)))))
            out = torch.where(valid, out, 0)  # a bias must not leak in from the padding
        return torch.where(valid, F.relu(out + self.residual(features)), 0)
