"""3D convolutions of small volumes, which CPUs get wrong in bfloat16.

oneDNN, as torch 2.13 has it, gives weights' gradients that are whatever was in memory where a
clip is hardly longer than the kernel, and writes beyond its memory where an output is one pixel
wide (https://github.com/pytorch/pytorch/issues/169688). Nothing is raised: the loss alone may tell.
"""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor, nn


def compute_small_volumes_exactly(network: nn.Module) -> None:
    """Let the 3D convolutions of a network leave bfloat16 for float32 on a CPU where they must."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d):
            # A method, not a closure: a copy of the network then has one of its own.
            layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]


def is_small(layer: nn.Conv3d, x: Tensor) -> bool:
    """Whether some axis of `x` (N, C, T, H, W) is no longer than the layer's kernel or stride."""
    reaches = zip(x.shape[2:], layer.kernel_size, layer.stride, strict=True)
    return any(size <= reach for size, *both in reaches if (reach := max(both)) > 1)


def _forward(layer: nn.Conv3d, x: Tensor) -> Tensor:
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and is_small(layer, x):
        with torch.autocast("cpu", enabled=False):
            return layer._conv_forward(x.float(), layer.weight, layer.bias)
    return layer._conv_forward(x, layer.weight, layer.bias)
