"""Fitting a first convolution to another number of input channels."""

from __future__ import annotations

import torch
from torch import nn

Conv = nn.Conv2d | nn.Conv3d


def adapt_input_channels(conv: Conv, in_channels: int) -> Conv:
    """Return a copy of `conv` for `in_channels` inputs, each filter the mean over RGB, repeated.

    Cross-modality initialisation: Wang et al., "Temporal Segment Networks", ECCV 2016, section 3.2.
    Averaging keeps what ImageNet taught about edges and textures, which flow fields share.
    """
    adapted = type(conv)(
        in_channels,
        conv.out_channels,
        kernel_size=conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        bias=conv.bias is not None,
    )
    with torch.no_grad():
        adapted.weight.copy_(conv.weight.mean(dim=1, keepdim=True).expand_as(adapted.weight))
        if conv.bias is not None and adapted.bias is not None:
            adapted.bias.copy_(conv.bias)
    return adapted


def first_convolution(network: nn.Module) -> tuple[str, Conv]:
    """Name and layer of the convolution that sees the input: the first that a network has."""
    return next((name, layer) for name, layer in network.named_modules() if isinstance(layer, Conv))
