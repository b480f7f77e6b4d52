"""Training-time augmentation: crops, mirroring, colours, RandAugment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from twostream.transforms.boxes import Box, View, random_corner_box, whole
from twostream.transforms.clips import Clip
from twostream.transforms.presets import Modality
from twostream.transforms.rand_augment import apply_operations, draw_operations

OPERATIONS = 2  # of RandAugment: N of the paper
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # Rec. 601
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
    """What is drawn at random for a training sample.

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


def augment_(
    clip: Clip, modality: Modality, augmentation: Augmentation, *, rng: np.random.Generator
) -> None:
    """Augment a clip (..., C, H, W) in place, all its frames alike: RandAugment, then colours.

    What moves pixels besides is `draw_view`: crop and mirroring.
    """
    frames = np.moveaxis(clip, -3, -1)
    if augmentation.rand_augment:
        flow = modality.name == "flow"
        operations = draw_operations(
            OPERATIONS, magnitude=augmentation.rand_augment / 30, flow=flow, rng=rng
        )
        frames[...] = apply_operations(frames, operations, flow=flow)
    if augmentation.colour:
        frames[...] = change_colour(frames, draw_colour_change(augmentation.colour, rng=rng))


class ColourChange(NamedTuple):
    """Factors; 1 changes nothing."""

    brightness: float
    contrast: float
    saturation: float


def draw_colour_change(strength: float, *, rng: np.random.Generator) -> ColourChange:
    """Draw each factor between 1 - strength (at least 0) and 1 + strength."""
    return ColourChange(*rng.uniform(max(0.0, 1 - strength), 1 + strength, size=3).tolist())


def change_colour(clip: Clip, change: ColourChange) -> Clip:
    """Change all frames of an RGB clip (..., H, W, 3) alike; what leaves 0 to 255 is cut off.

    Brightness scales; contrast then scales the distance from the clip's mean grey, and saturation
    that from each pixel's own grey. Together they are one affine map of the colours.
    """
    import cv2

    frames = np.ascontiguousarray(clip).reshape(-1, clip.shape[-2], 3)
    grey = change.brightness * float(np.dot(cv2.mean(frames)[:3], LUMA))
    to_grey = np.outer(np.ones(3), LUMA)
    mix = change.saturation * np.eye(3) + (1 - change.saturation) * to_grey
    shift = np.full((3, 1), (1 - change.contrast) * grey)
    affine = np.hstack([change.brightness * change.contrast * mix, shift])
    return np.asarray(cv2.transform(frames, affine), dtype=np.uint8).reshape(clip.shape)
