"""Temporal convolutions: with max-pooling (the encoder of `full_conv`), or dilated and causal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from twostream.models.temporal.frame_selection import valid_mask, zero_padding
from twostream_base.errors import InputError


class Conv(nn.Module):
    """Layers of 1D convolution, batch norm and ReLU; the first `pools` end in max-pooling by 2.

    The defaults are the encoder of Cheng et al., "Fully Convolutional Networks for Continuous Sign
    Language Recognition", ECCV 2020, section 3.2. Batch norm uses valid frames only, and pooling
    drops an odd last frame, so that the output of a sequence does not depend on its padding.

    Args:
        widths, kernels: channels and odd kernel size of each layer.

    Raises:
        InputError: not one kernel for each width, or an even one.
    """

    def __init__(
        self,
        in_features: int,
        *,
        widths: Sequence[int] = (512, 512, 1024),
        kernels: Sequence[int] = (5, 5, 3),
        pools: int = 2,
    ) -> None:
        super().__init__()
        if len(kernels) != len(widths) or not all(kernel % 2 for kernel in kernels):
            raise InputError(
                f"conv: kernels {list(kernels)} for widths {list(widths)}; give an odd kernel for "
                "each width, as widths=512,1024 kernels=5,3 (one layer: widths=512, kernels=5,)"
            )
        inputs = (in_features, *widths[:-1])
        self.convs = nn.ModuleList(
            nn.Conv1d(channels, width, kernel, padding=kernel // 2)
            for channels, width, kernel in zip(inputs, widths, kernels, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)
        self.pools, self.out_features = pools, widths[-1]

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, T // 2**pools, widths[-1]); lengths are halved, rounding down."""
        for layer, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            features = conv(features.transpose(1, 2)).transpose(1, 2)
            valid = valid_mask(lengths, features.shape[1])
            features = F.relu(masked_batch_norm(features, valid, norm))
            if layer < self.pools:
                # A single frame leaves nothing: a length of 0.
                pairs = F.pad(features, (0, 0, 0, 1)) if features.shape[1] < 2 else features
                lengths = lengths // 2
                pooled = F.max_pool1d(pairs.transpose(1, 2), 2).transpose(1, 2)
                features = zero_padding(pooled, lengths)
        return features, lengths


def masked_batch_norm(features: Tensor, valid: Tensor, norm: nn.Module) -> Tensor:
    """Batch norm over the valid frames, bool (N, T), of (N, T, D); the padding becomes zero."""
    rows = features[valid]
    if len(rows) < 2:  # too few for training statistics
        normed = F.batch_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias)  # type: ignore[arg-type]
    else:
        normed = norm(rows)
    out = torch.zeros(features.shape, dtype=normed.dtype, device=features.device)
    return out.masked_scatter(valid[:, :, None], normed)


NORMS = ("weight", "batch")


class Tcn(nn.Module):
    """Residual blocks of two causal convolutions each; block b has dilation 2**b.

    Bai et al., "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
    Sequence Modeling", 2018, section 3: weight norm, ReLU and dropout after each convolution, a
    1 x 1 convolution on the residual path where widths differ.

    Args:
        norm: `weight`, or `batch`: batch norm of valid frames after each convolution, as in the
            code of *dynamic temporal fusion*.

    Raises:
        InputError: another norm.
    """

    def __init__(
        self,
        in_features: int,
        *,
        width: int = 512,
        blocks: int = 1,
        kernel: int = 3,
        dropout: float = 0.2,
        norm: str = "weight",
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise InputError(f"tcn: norm={norm!r}; allowed: {', '.join(NORMS)}")
        inputs = [in_features] + [width] * (blocks - 1)
        self.blocks = nn.ModuleList(
            CausalBlock(channels, width, kernel=kernel, dilation=2**b, dropout=dropout, norm=norm)
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
        self,
        in_features: int,
        width: int,
        *,
        kernel: int,
        dilation: int,
        dropout: float,
        norm: str = "weight",
    ) -> None:
        super().__init__()
        convs = [
            nn.Conv1d(channels, width, kernel, dilation=dilation)
            for channels in (in_features, width)
        ]
        batch = norm == "batch"
        self.convs = nn.ModuleList(convs if batch else map(weight_norm, convs))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in convs if batch)
        self.residual = nn.Conv1d(in_features, width, 1) if in_features != width else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.left_padding = (kernel - 1) * dilation

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """`valid` is bool (N, 1, T); the output at other frames is zero."""
        out = features
        for layer, conv in enumerate(self.convs):
            out = conv(F.pad(out, (self.left_padding, 0)))
            if self.norms:
                out = masked_batch_norm(out.mT, valid[:, 0], self.norms[layer]).mT
            out = self.dropout(F.relu(out))
            out = torch.where(valid, out, 0)  # a bias must not leak in from the padding
        return torch.where(valid, F.relu(out + self.residual(features)), 0)
