"""What the modalities are, and how each enters a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twostream.transforms.clips import Clip, mirror_flow, mirror_rgb


@dataclass(frozen=True, slots=True)
class Modality:
    """What the two streams do differently.

    Attributes:
        name: `rgb` or `flow`.
        channels: values a pixel, 3 or 2 (u, v).
        snippet_length: frames or flow pairs a snippet.
        mean, std: of stored values (0 to 255), one a channel; the network subtracts and divides.
        mirror: writes (C, H, W) mirrored, so that it keeps its meaning, to where it is told.
        scales: sides of the training crop, relative to the frame's short side.
    """

    name: str
    channels: int
    snippet_length: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mirror: Callable[[Clip, Clip], None]
    scales: tuple[float, ...]


# RGB: ImageNet's statistics. Flow: zero motion is exactly 128, and the scale is that of TSN's
# PyTorch code (0.226 of the range). Scales of both streams: Wang et al., ECCV 2016, section 3.2.
MODALITIES = {
    "spatial": Modality(
        "rgb",
        3,
        1,
        (123.675, 116.28, 103.53),
        (58.395, 57.12, 57.375),
        mirror_rgb,
        (1.0, 0.875, 0.75, 0.66),
    ),
    "motion": Modality(
        "flow",
        2,
        10,
        (128.0, 128.0),
        (57.63, 57.63),
        mirror_flow,
        (1.0, 0.875, 0.75),
    ),
}
