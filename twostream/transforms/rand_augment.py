"""RandAugment for clips: a few operations, drawn once a clip and applied to all its frames.

Cubuk et al., "RandAugment", NeurIPS 2020, table 6; strengths as in torchvision's. RGB takes all
operations. Flow takes those that move things, and its vectors turn and stretch with them;
operations on colour are refused, for a value of flow is no colour.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from twostream.transforms.clips import Clip

if TYPE_CHECKING:
    from numpy.random import Generator

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


def _enhance(name: str, frame: Any, amount: float) -> Any:
    from PIL import ImageEnhance

    return getattr(ImageEnhance, name)(frame).enhance(1 + amount)


def _tone(name: str, frame: Any, amount: float) -> Any:  # it has no strength
    from PIL import ImageOps

    return getattr(ImageOps, name)(frame)


def _posterize(frame: Any, amount: float) -> Any:
    from PIL import ImageOps

    return ImageOps.posterize(frame, 8 - round(abs(amount)))


def _solarize(frame: Any, amount: float) -> Any:
    from PIL import ImageOps

    return ImageOps.solarize(frame, threshold=round(256 * (1 - abs(amount))))


# On a picture of Pillow; 0 leaves it as it is, but for `autocontrast` and `equalize`.
COLOURS: dict[str, tuple[Callable[[Any, float], Any], float]] = {
    "brightness": (partial(_enhance, "Brightness"), 0.9),
    "colour": (partial(_enhance, "Color"), 0.9),
    "contrast": (partial(_enhance, "Contrast"), 0.9),
    "sharpness": (partial(_enhance, "Sharpness"), 0.9),
    "posterize": (_posterize, 4.0),
    "solarize": (_solarize, 1.0),
    "autocontrast": (partial(_tone, "autocontrast"), 0.0),
    "equalize": (partial(_tone, "equalize"), 0.0),
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
    drawn = [names[int(rng.integers(len(names)))] for _ in range(count)]
    signs = rng.choice([-1.0, 1.0], count)
    return [
        (name, float(sign * magnitude * largest.get(name, 0.0)))
        for name, sign in zip(drawn, signs, strict=True)
    ]


def apply_operations(clip: Clip, operations: list[tuple[str, float]], *, flow: bool) -> Clip:
    """Apply operations in their order to all frames of a clip (..., H, W, C).

    Raises:
        ValueError: an operation on colour for flow.
    """
    from PIL import Image

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
