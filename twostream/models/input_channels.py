"""Fitting a first convolution to another number of input channels."""

from __future__ import annotations

import torch
from torch import nn


def adapt_input_channels(conv: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """Return a copy of `conv` for `in_channels` inputs, each filter the mean over RGB, repeated.

    Cross-modality initialisation: Wang et al., "Temporal Segment Networks", ECCV 2016, section 3.2.
    Averaging keeps what ImageNet taught about edges and textures, which flow fields share.
    """
    adapted = nn.Conv2d(
        in_channels,
        conv.out_channels,
        kernel_size=conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        bias=conv.bias is not None,
    )
    with torch.no_grad():
        mean = conv.weight.mean(dim=1, keepdim=True)
        adapted.weight.copy_(mean.expand(-1, in_channels, -1, -1))
        if conv.bias is not None and adapted.bias is not None:
            adapted.bias.copy_(conv.bias)
    return adapted
