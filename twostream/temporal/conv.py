"""Convolutions over time with max-pooling: full_conv's encoder, T -> T/4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostream.errors import InputError
from twostream.temporal.padding import true_frames, zero_padding


class Conv(nn.Module):
    """Layers of conv1d, batch norm, ReLU, the first `pools` of them halved by max-pooling.

    The defaults are the encoder of Cheng et al., "Fully Convolutional Networks for Continuous Sign
    Language Recognition", ECCV 2020, section 3.2. Batch norm sees true frames alone, and pooling
    drops an odd last frame, so that a sequence is the same with any padding behind it.

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
            nn.Conv1d(before, after, kernel, padding=kernel // 2)
            for before, after, kernel in zip(inputs, widths, kernels, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)
        self.pools, self.out_features = pools, widths[-1]

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, T // 2**pools, widths[-1]); lengths are halved, rounding down."""
        for layer, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            features = conv(features.transpose(1, 2)).transpose(1, 2)
            features = F.relu(_norm_true_frames(features, lengths, norm))
            if layer < self.pools:
                features, lengths = _halve(features, lengths)
        return features, lengths


def _norm_true_frames(features: Tensor, lengths: Tensor, norm: nn.Module) -> Tensor:
    true = true_frames(lengths, features.shape[1])
    rows = features[true]
    if len(rows) < 2:  # of which training statistics cannot be taken
        normed = F.batch_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias)  # type: ignore[arg-type]
    else:
        normed = norm(rows)
    out = torch.zeros(features.shape, dtype=normed.dtype, device=features.device)
    return out.masked_scatter(true[:, :, None], normed)


def _halve(features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The larger of each two frames; of a single frame nothing is left, a length of 0."""
    pairs = F.pad(features, (0, 0, 0, 1)) if features.shape[1] < 2 else features
    halved = F.max_pool1d(pairs.transpose(1, 2), 2).transpose(1, 2)
    return zero_padding(halved, lengths // 2), lengths // 2
