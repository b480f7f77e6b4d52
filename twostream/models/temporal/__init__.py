"""Temporal modules by name, which turn per-frame features into new ones. Imports no torch.

A builder is `(in_features, **options) -> nn.Module`; the module maps features (N, T, D) and their
lengths int64 (N,) to new features (N, T', D') and new lengths, and has D' as `out_features`.
Frames beyond a length are zero in input and output, and never influence the others.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def _late(file: str, name: str) -> Callable[..., nn.Module]:
    def build(in_features: int, **options: Any) -> nn.Module:
        module = importlib.import_module(f"{__name__}.{file}")
        network: nn.Module = getattr(module, name)(in_features, **options)
        return network

    return build


TEMPORAL: dict[str, Callable[..., nn.Module]] = {
    "conv": _late("conv", "Conv"),
    "tcn": _late("tcn", "Tcn"),
    "local_attention": _late("local_attention", "LocalAttention"),
    "dynamic_framing": _late("dynamic_framing", "DynamicFraming"),
    "random_sampling": _late("frame_selection", "RandomSampling"),
    "dedup": _late("frame_selection", "Dedup"),
}
