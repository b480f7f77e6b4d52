"""Training-time augmentation: crops, mirroring, colours, RandAugment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageEnhance, ImageOps

from twostream.transforms.clips import Box, Clip, View
from twostream.transforms.presets import Modality

OPERATIONS = 2  # of RandAugment: N of the paper
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # Rec. 601
Crop = Callable[..., Box]  # (height, width, *, scales, size, rng)


# Where corner crops may lie, in quarters of the free height and width: 5 places, and 8 more.
QUARTERS = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2),
            (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3))  # fmt: skip


def corners(
    height: int,
    width: int,
    *,
    scales: tuple[float, ...],
    size: int,
    rng: Generator,
    places: int = 5,
) -> Box:
    """A crop at a corner or the centre, its sides among neighbouring `scales`.

    Corner cropping with scale jittering: Wang et al., ECCV 2016, section 3.2. As in that paper's
    PyTorch code (tsn-pytorch) and in mmaction2 all pairs of a height and a width that are at most
    one step of the scales apart are equally likely, a side close to the input's is the input's,
    and places lie at whole quarters.

    Args:
        scales: sides relative to the frame's short side, in descending order.
        places: 5, or 13 with the middles of the sides and of the quarters.
    """
    short = min(height, width)
    sides = [max(1, int(short * scale)) for scale in scales]
    sides = [size if abs(side - size) < 3 and size <= short else side for side in sides]
    pairs = [
        (tall, wide)
        for i, tall in enumerate(sides)
        for j, wide in enumerate(sides)
        if abs(i - j) <= 1
    ]
    tall, wide = pairs[int(rng.integers(len(pairs)))]
    down, right = QUARTERS[int(rng.integers(places))]
    return Box(down * ((height - tall) // 4), right * ((width - wide) // 4), tall, wide)


def random_square(height: int, width: int, *, size: int, rng: Generator, **_: object) -> Box:
    """A square of the input's size anywhere, unscaled; as large as the frame where that is less."""
    side = min(size, height, width)
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    return Box(int(top), int(left), side, side)


def jittered_square(
    height: int, width: int, *, jitter: tuple[int, int], size: int, rng: Generator
) -> Box:
    """What a square of the input's size shows of a frame whose short side is drawn: its box there.

    Short-side jitter: the short side becomes a whole number from `jitter`, all equally likely, and
    a square of `size` is cut from that at random (Simonyan and Zisserman, ICLR 2015, section 3.1;
    for clips Wang et al., "Non-local Neural Networks", CVPR 2018, section 4). Only what is shown is
    scaled: the box is that square's in the frame as it is.
    """
    short = min(height, width)
    side = square_of_jitter(short, short_side=int(rng.integers(*jitter, endpoint=True)), size=size)
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    return Box(int(top), int(left), side, side)


def square_of_jitter(short: int, *, short_side: int, size: int) -> int:
    """Side, in a frame with the short side `short`, of what is `size` when that is `short_side`."""
    return min(short, max(1, round(size * short / short_side)))


def whole_frame(height: int, width: int, **_: object) -> Box:
    """The whole frame: scaled to a square, its aspect is lost."""
    return Box(0, 0, height, width)


CROPS: dict[str, Crop] = {
    "corners": corners,
    "corners13": partial(corners, places=13),
    "random": random_square,
    "whole": whole_frame,
}


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is drawn at random for a training sample.

    Attributes:
        crop: part of the frame that is scaled to the input.
        flip: whether half of the samples are mirrored.
        colour: how far brightness, contrast and saturation may leave 1; 0 leaves the colours.
        rand_augment: strength of two operations of RandAugment, 0 to 30; 0 leaves them out.
        jitter: least and largest short side that frames are scaled to before a square of the
            input's size is cut at random; flow vectors are scaled alike. It takes the place of
            `crop`; None leaves it out.
    """

    crop: Crop = corners
    flip: bool = True
    colour: float = 0.0
    rand_augment: float = 0.0
    jitter: tuple[int, int] | None = None


def draw_view(
    height: int,
    width: int,
    modality: Modality,
    augmentation: Augmentation,
    *,
    size: int,
    rng: Generator,
) -> View:
    """Draw what a training sample shows of frames of that size: one view for all its frames."""
    if augmentation.jitter:
        box = jittered_square(height, width, jitter=augmentation.jitter, size=size, rng=rng)
    else:
        box = augmentation.crop(height, width, scales=modality.scales, size=size, rng=rng)
    return View(box, mirrored=augmentation.flip and bool(rng.random() < 0.5))


def augment_(clip: Clip, modality: Modality, augmentation: Augmentation, *, rng: Generator) -> None:
    """Augment a clip (..., T, C, H, W) in place, all its frames alike: RandAugment, then colours.

    RGB and flow of one clip are moved alike; what changes colours changes RGB alone.
    What moves pixels besides is `draw_view`: crop and mirroring.
    """
    flow_alone = modality.name == "flow"
    if augmentation.rand_augment:
        magnitude = augmentation.rand_augment / 30
        operations = draw_operations(OPERATIONS, magnitude=magnitude, flow=flow_alone, rng=rng)
    if augmentation.colour:
        change = draw_colour_change(augmentation.colour, rng=rng)
    for part, pictures in modality.split(clip):
        frames, flow = np.moveaxis(pictures, -3, -1), part.name == "flow"
        if augmentation.rand_augment:
            fitting = [o for o in operations if not (flow and o[0] in COLOURS)]
            frames[...] = apply_operations(frames, fitting, flow=flow)
        if augmentation.colour and not flow:
            frames[...] = change_colour(frames, change)


class ColourChange(NamedTuple):
    """Factors; 1 changes nothing."""

    brightness: float
    contrast: float
    saturation: float


def draw_colour_change(strength: float, *, rng: Generator) -> ColourChange:
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


# RandAugment for clips: a few operations, drawn once a clip and applied to all its frames. Cubuk
# et al., "RandAugment", NeurIPS 2020, table 6; strengths as in torchvision's. RGB takes all
# operations. Flow takes those that move things, and its vectors turn and stretch with them;
# operations on colour are refused, for a value of flow is no colour.

# Where a point (x, y, 1), seen from the middle, goes: two rows of three numbers.
Affine = tuple[tuple[float, float, float], tuple[float, float, float]]
GREY = 128


def _rotate(degrees: float, _: int) -> Affine:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (cos, -sin, 0), (sin, cos, 0)


# (strength, width) -> map, and the largest strength; the sign is drawn too. Translations and shears
# are parts of a side, rotations degrees.
MOVES: dict[str, tuple[Callable[[float, int], Affine], float]] = {
    "shear_x": (lambda part, _: ((1, part, 0), (0, 1, 0)), 0.3),
    "shear_y": (lambda part, _: ((1, 0, 0), (part, 1, 0)), 0.3),
    "translate_x": (lambda part, width: ((1, 0, part * width), (0, 1, 0)), 150 / 331),
    "translate_y": (lambda part, width: ((1, 0, 0), (0, 1, part * width)), 150 / 331),
    "rotate": (_rotate, 30.0),
}


# (picture of Pillow, strength) -> picture, and the largest strength; 0 leaves the picture as it is,
# but for `autocontrast` and `equalize`, which have no strength.
COLOURS: dict[str, tuple[Callable[[Image.Image, float], Image.Image], float]] = {
    "brightness": (lambda picture, part: ImageEnhance.Brightness(picture).enhance(1 + part), 0.9),
    "colour": (lambda picture, part: ImageEnhance.Color(picture).enhance(1 + part), 0.9),
    "contrast": (lambda picture, part: ImageEnhance.Contrast(picture).enhance(1 + part), 0.9),
    "sharpness": (lambda picture, part: ImageEnhance.Sharpness(picture).enhance(1 + part), 0.9),
    "posterize": (lambda picture, bits: ImageOps.posterize(picture, 8 - round(abs(bits))), 4.0),
    "solarize": (lambda p, part: ImageOps.solarize(p, threshold=round(256 * (1 - abs(part)))), 1.0),
    "autocontrast": (lambda picture, _: ImageOps.autocontrast(picture), 0.0),
    "equalize": (lambda picture, _: ImageOps.equalize(picture), 0.0),
}


def draw_operations(
    count: int, *, magnitude: float, flow: bool, rng: Generator
) -> list[tuple[str, float]]:
    """Draw `count` operations with their strengths, for `apply_operations`.

    Args:
        magnitude: 0 to 1, of each operation's largest strength; the paper's M out of 30.
        flow: draw from the moves alone.
    """
    largest = {name: limit for name, (_, limit) in (MOVES if flow else MOVES | COLOURS).items()}
    names = ["identity", *largest]
    operations = [names[int(rng.integers(len(names)))] for _ in range(count)]
    signs = rng.choice([-1.0, 1.0], count)
    return [
        (name, float(sign * magnitude * largest.get(name, 0.0)))
        for name, sign in zip(operations, signs, strict=True)
    ]


def apply_operations(clip: Clip, operations: list[tuple[str, float]], *, flow: bool) -> Clip:
    """Apply operations in their order to all frames of a clip (..., H, W, C).

    Raises:
        ValueError: an operation on colour for flow.
    """
    for name, amount in operations:
        if name in MOVES:
            clip = _move(clip, MOVES[name][0](amount, clip.shape[-2]), flow=flow)
        elif name in COLOURS and flow:
            raise ValueError(f"{name} changes colours; flow has none")
        elif name in COLOURS:
            frames = np.ascontiguousarray(clip.reshape(-1, *clip.shape[-3:]))
            change = COLOURS[name][0]
            changed = [np.asarray(change(Image.fromarray(frame), amount)) for frame in frames]
            clip = np.stack(changed).reshape(clip.shape)
    return clip


def _move(clip: Clip, affine: Affine, *, flow: bool) -> Clip:
    """Move every frame around its middle; what comes in from outside is grey, or no motion.

    Flow vectors (u, v) move and turn: the linear map is applied to them too.
    """
    import cv2

    height, width, channels = clip.shape[-3:]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    linear, shift = np.array(affine)[:, :2], np.array(affine)[:, 2]
    matrix = np.column_stack([linear, middle - linear @ middle + shift])
    frames = [
        cv2.warpAffine(frame, matrix, (width, height), borderValue=(GREY,) * channels)
        for frame in clip.reshape(-1, height, width, channels)
    ]
    moved: Clip = np.stack(frames).astype(np.uint8, copy=False).reshape(clip.shape)
    if not flow:
        return moved
    vectors = (moved.astype(np.float32) - GREY) @ linear.T.astype(np.float32)
    return np.clip(np.rint(vectors + GREY), 1, 255).astype(np.uint8)
