"""Modalities: RGB, flow, RGB differences, RGB with flow, and how each enters a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from twostream.transforms.clips import Clip, mirror_flow, mirror_rgb
from twostream_base.errors import InputError


@dataclass(frozen=True, slots=True)
class Modality:
    """What a network sees of a video, and how it is normalised, mirrored and cropped.

    Attributes:
        name: `rgb`, `flow`, or `joint` for both.
        channels: values a pixel, 3 or 2 (u, v); of a joint one, of all that a time step shows.
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
        parts: of a joint modality RGB and flow, whose channels follow one another at each time
            step: an RGB frame, and the `stack` flow pairs around it. Its own `snippet_length`
            counts these steps.
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
    parts: tuple[Modality, ...] = ()

    @property
    def sampling(self) -> dict[str, int]:
        """Length and interval, as the functions of `data.protocols` take them; of joint ones, of
        the flow."""
        if self.parts:
            return self.parts[-1].sampling
        stack = {"stack": self.stack} if self.stack > 1 else {}
        return {"snippet_length": self.snippet_length, "interval": self.interval, **stack}

    @property
    def sees_flow(self) -> bool:
        """Whether a network sees optical flow, alone or beside RGB."""
        return any(part.name == "flow" for part in self.parts or (self,))

    @property
    def network_length(self) -> int:
        """Time steps that a network sees of a snippet: frames, flow pairs, or differences."""
        return self.snippet_length - self.differences

    def snippet_shape(self, side: int) -> tuple[int, int, int, int]:
        """(T, C, H, W) of a snippet of square pictures, `side` pixels each way."""
        return self.snippet_length, self.channels, side, side

    @property
    def u_channels(self) -> slice:
        """The channels that hold u of a flow vector, which mirroring negates."""
        first = {"rgb": self.channels, "flow": 0}.get(self.name)
        return slice(self.parts[0].channels if first is None else first, None, 2)

    def split(self, clip: Clip) -> Iterator[tuple[Modality, Clip]]:
        """Each part with its pictures in a clip (..., T, C, H, W), a view (..., T, K, c, H, W).

        K pictures of c channels are at each time step: 1 but for the flow of a joint modality.
        """
        first = 0
        for part in self.parts or (self,):
            count = part.stack if self.parts else 1
            end = first + count * part.channels
            shape = (*clip.shape[:-3], count, part.channels, *clip.shape[-2:])
            yield part, clip[..., first:end, :, :].reshape(shape)
            first = end

    def split_snippet(self, indices: Sequence[int]) -> list[Sequence[int]]:
        """Which pictures each part shows in a snippet of these indices, as `sampling` gives them.

        A joint snippet has, at each time step, the frame from which the middle one of its flow
        pairs starts: of pairs 0 to 9, which lie between frames 0 to 10, frame 5.
        """
        if not self.parts:
            return [indices]
        stack = self.parts[-1].stack
        return [indices[stack // 2 :: stack], indices]

    def of_clips(
        self,
        *,
        clip_length: int,
        frame_interval: int,
        frame_size: tuple[int, int] | None = None,
        stack: int = 1,
    ) -> Modality:
        """The same in snippets of that many frames or flow pairs; see `interval` to `stack`.

        Raises:
            InputError: no whole number of stacks, or an interval beside a single one.
        """
        if clip_length % stack:
            raise InputError(
                f"a clip length of {clip_length}: flow pairs come in stacks of {stack}; give a "
                "multiple of it"
            )
        if clip_length == stack > 1 and frame_interval != 1:
            raise InputError(
                f"a frame interval of {frame_interval}: {stack} neighbouring flow pairs are all "
                "that the network sees of a snippet; give an interval of 1, or a network of clips"
            )
        clip = {"interval": frame_interval, "frame_size": frame_size}
        if not self.parts:
            return replace(self, snippet_length=clip_length, stack=stack, **clip)  # type: ignore
        rgb, flow = self.parts
        return joint(
            replace(rgb, snippet_length=clip_length // stack, **clip),  # type: ignore[arg-type]
            replace(flow, snippet_length=clip_length, stack=stack, **clip),  # type: ignore[arg-type]
        )


def joint(rgb: Modality, flow: Modality) -> Modality:
    """RGB and flow of the same moments: what a network of both streams sees."""
    return Modality(
        "joint",
        rgb.channels + flow.channels * flow.stack,
        flow.snippet_length // flow.stack,
        mean=rgb.mean + flow.mean * flow.stack,
        std=rgb.std + flow.std * flow.stack,
        mirror=flow.mirror,
        scales=flow.scales,
        interval=flow.interval,
        frame_size=flow.frame_size,
        parts=(rgb, flow),
    )


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
MODALITIES["joint"] = joint(MODALITIES["spatial"], replace(MODALITIES["motion"], stack=10))


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
    return MODALITIES[stream].of_clips(
        clip_length=clip_length,
        frame_interval=frame_interval,
        frame_size=(resize[0], resize[1]) if resize else None,
        stack=stack,
    )
