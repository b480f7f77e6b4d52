"""Modalities: RGB, flow and RGB differences, and how each enters a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from twostream.transforms.clips import Clip, mirror_flow, mirror_rgb


@dataclass(frozen=True, slots=True)
class Modality:
    """What a network sees of a video, and how it is normalised, mirrored and cropped.

    Attributes:
        name: `rgb` or `flow`.
        channels: values a pixel, 3 or 2 (u, v).
        snippet_length: frames or flow pairs a snippet.
        interval: from one of them to the next; 0 spreads them over the whole video.
        frame_size: height and width that frames are scaled to before any crop; None leaves them.
        stack: of a network of clips, pictures in a row that are one time step; the snippet has
            `snippet_length` of them in all.
        differences: the network sees what changes from each frame to the next, not the frames.
        mean, std: of stored values (0 to 255), one a channel; the network subtracts and divides.
        mirror: (source, out), both (C, H, W): writes the source mirrored left to right; of flow, u
            is negated too.
        scales: sides of the training crop, relative to the frame's short side.
    """

    name: str
    channels: int
    snippet_length: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mirror: Callable[[Clip, Clip], None]
    scales: tuple[float, ...]
    interval: int = 1
    frame_size: tuple[int, int] | None = None
    stack: int = 1
    differences: bool = False

    @property
    def sampling(self) -> dict[str, int]:
        """Length and interval, as the functions of `data.protocols` take them."""
        stack = {"stack": self.stack} if self.stack > 1 else {}
        return {"snippet_length": self.snippet_length, "interval": self.interval, **stack}

    @property
    def sees_rgb(self) -> bool:
        """Whether a network sees RGB frames as they are: neither flow nor differences."""
        return self.name == "rgb" and not self.differences

    @property
    def network_length(self) -> int:
        """Time steps that a network sees of a snippet: frames, flow pairs, or differences."""
        return self.snippet_length - self.differences


IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

# RGB: ImageNet's statistics. Flow: zero motion is exactly 128, and the scale is that of TSN's
# PyTorch code (0.226 of the range). Scales of both streams: Wang et al., ECCV 2016, section 3.2.
MODALITIES = {
    "spatial": Modality(
        "rgb", 3, 1, IMAGENET_MEAN, IMAGENET_STD, mirror_rgb, scales=(1.0, 0.875, 0.75, 0.66)
    ),
    "motion": Modality(
        "flow", 2, 10, (128.0, 128.0), (57.63, 57.63), mirror_flow, scales=(1.0, 0.875, 0.75)
    ),
    # Five differences of neighbouring frames: RGB difference of the same paper, section 3.2.
    "difference": Modality(
        "rgb", 3, 6, (0.0, 0.0, 0.0), IMAGENET_STD, mirror_rgb, (1.0, 0.875, 0.75), differences=True
    ),
}


def modality_of(
    stream: str,
    *,
    clip_length: int,
    frame_interval: int,
    resize: Sequence[int] = (),
    stack: int = 1,
) -> Modality:
    """The modality of a stream in snippets of that length and interval, of frames of that size.

    Args:
        resize: height and width, or nothing. stack: see `Modality`.
    """
    return replace(
        MODALITIES[stream],
        snippet_length=clip_length,
        interval=frame_interval,
        frame_size=(resize[0], resize[1]) if resize else None,
        stack=stack,
    )
