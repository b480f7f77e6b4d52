"""Changing brightness, contrast and saturation of RGB clips."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from twostream.transforms.clips import Clip

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # Rec. 601


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
