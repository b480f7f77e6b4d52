"""The networks by name. Building one is late: this file imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from twostream.transforms.presets import Modality


def _segment_resnet(name: str) -> Callable[..., nn.Module]:
    def build(*, modality: Modality, num_classes: int, weights: str = "none") -> nn.Module:
        from twostream.models.backbones import build_resnet
        from twostream.models.segment_network import SegmentNetwork

        channels = modality.channels * modality.snippet_length
        backbone = build_resnet(
            name, in_channels=channels, num_classes=num_classes, weights=weights
        )
        return SegmentNetwork(backbone, modality)

    return build


MODELS: dict[str, Callable[..., nn.Module]] = {
    name: _segment_resnet(name)
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
}
