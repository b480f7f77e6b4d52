"""What is drawn at random for a training sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from twostream.transforms.boxes import Box, View, random_corner_box, whole
from twostream.transforms.clips import Clip
from twostream.transforms.colour import change_colour, draw_colour_change
from twostream.transforms.presets import Modality
from twostream.transforms.rand_augment import apply_operations, draw_operations

OPERATIONS = 2  # of RandAugment: N of the paper
Crop = Callable[..., Box]  # (height, width, *, scales, size, rng)


def corners(
    height: int, width: int, *, scales: tuple[float, ...], size: int, rng: np.random.Generator
) -> Box:
    """A crop at a corner or the centre, of varying size and aspect (Wang et al., ECCV 2016)."""
    return random_corner_box(height, width, scales=scales, rng=rng)


def random_square(
    height: int, width: int, *, scales: tuple[float, ...], size: int, rng: np.random.Generator
) -> Box:
    """A square of the input's size anywhere, unscaled; as large as the frame where that is less."""
    side = min(size, height, width)
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    return Box(int(top), int(left), side, side)


def whole_frame(
    height: int, width: int, *, scales: tuple[float, ...], size: int, rng: np.random.Generator
) -> Box:
    """The whole frame: scaled to a square, its aspect is lost."""
    return whole(height, width)


CROPS: dict[str, Crop] = {"corners": corners, "random": random_square, "whole": whole_frame}


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How training samples vary.

    Attributes:
        crop: part of the frame that is scaled to the input.
        flip: whether half of the samples are mirrored.
        colour: how far brightness, contrast and saturation may leave 1; 0 leaves the colours.
        rand_augment: strength of two operations of RandAugment, 0 to 30; 0 leaves them out.
    """

    crop: Crop = corners
    flip: bool = True
    colour: float = 0.0
    rand_augment: float = 0.0


def draw_view(
    height: int,
    width: int,
    modality: Modality,
    augmentation: Augmentation,
    *,
    size: int,
    rng: np.random.Generator,
) -> View:
    """Draw what a training sample shows of frames of that size: one view for all its frames."""
    box = augmentation.crop(height, width, scales=modality.scales, size=size, rng=rng)
    return View(box, mirrored=augmentation.flip and bool(rng.random() < 0.5))


def vary(
    clip: Clip, modality: Modality, augmentation: Augmentation, *, rng: np.random.Generator
) -> None:
    """Change a clip (..., C, H, W) in place, all its frames alike: operations, then colours."""
    frames = np.moveaxis(clip, -3, -1)
    if augmentation.rand_augment:
        flow = modality.name == "flow"
        operations = draw_operations(
            OPERATIONS, magnitude=augmentation.rand_augment / 30, flow=flow, rng=rng
        )
        frames[...] = apply_operations(frames, operations, flow=flow)
    if augmentation.colour:
        frames[...] = change_colour(frames, draw_colour_change(augmentation.colour, rng=rng))
