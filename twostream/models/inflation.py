"""2D networks made 3D: kernels get a depth in time, weights are spread over it.

Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, section 2.4.1. On a still
clip, away from its ends where zeros are padded, the response is that of the 2D network.
"""

from __future__ import annotations

import torch
from torch import nn


def inflate_conv(conv: nn.Conv2d, *, depth: int = 1, stride: int = 1) -> nn.Conv3d:
    """Return `conv` with kernels `depth` frames deep, whose sum over time is the 2D kernel.

    Args:
        depth: odd. stride: in time.
    """
    inflated = nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        kernel_size=(depth, *conv.kernel_size),  # type: ignore[arg-type]
        stride=(stride, *conv.stride),  # type: ignore[arg-type]
        padding=(depth // 2, *conv.padding),
        dilation=(1, *conv.dilation),  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    with torch.no_grad():
        inflated.weight.copy_(conv.weight.unsqueeze(2).expand_as(inflated.weight) / depth)
        if conv.bias is not None and inflated.bias is not None:
            inflated.bias.copy_(conv.bias)
    return inflated


def inflate_norm(norm: nn.BatchNorm2d) -> nn.BatchNorm3d:
    """Return the same normalisation for (N, C, T, H, W)."""
    inflated = nn.BatchNorm3d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    inflated.load_state_dict(norm.state_dict())
    return inflated


def inflate_layers(module: nn.Module) -> None:
    """Replace all convolutions, normalisations and poolings inside by 3D ones of depth 1."""
    for name, layer in module.named_children():
        if isinstance(layer, nn.Conv2d):
            setattr(module, name, inflate_conv(layer))
        elif isinstance(layer, nn.BatchNorm2d):
            setattr(module, name, inflate_norm(layer))
        else:
            inflate_layers(layer)
