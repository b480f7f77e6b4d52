"""A 2D network applied to each segment by itself (TSN: Wang et al., ECCV 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twostream.transforms.presets import Modality


class SegmentNetwork(nn.Module):
    """Stored uint8 clips in, logits of each segment out.

    The network normalises its input itself, so that training and testing cannot differ in it.

    Args:
        backbone: maps (N, T*C, H, W) to (N, classes); the T frames of a snippet are stacked as
            channels, for flow in the order u1 v1 u2 v2 ...
        modality: gives mean and std of the stored values.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, modality: Modality) -> None:
        super().__init__()
        self.backbone = backbone
        for name, values in (("mean", modality.mean), ("std", modality.std)):
            stacked = torch.tensor(values).repeat(modality.snippet_length)
            self.register_buffer(name, stacked[:, None, None], persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, S, T, C, H, W) uint8 -> logits (N, S, classes)."""
        n, s, t, c, h, w = clips.shape
        stacked = clips.reshape(n * s, t * c, h, w).to(self.mean.dtype)
        normalised = ((stacked - self.mean) / self.std).contiguous(
            memory_format=torch.channels_last
        )
        logits: Tensor = self.backbone(normalised)
        return logits.reshape(n, s, -1)
