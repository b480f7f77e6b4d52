"""Pure functions on uint8 clips (..., H, W, C): crop, resize, flip. Drawing at random is elsewhere.

A clip of flow holds stored values, zero at 128, last axis (u, v).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twostream.transforms.boxes import Box

Clip = NDArray[np.uint8]


def crop_and_resize(clip: Clip, box: Box, *, size: int) -> Clip:
    """Cut `box` out of every frame and scale it to `size` x `size`; the aspect may change.

    Flow vectors keep their values: they stay pixels of the stored flow.
    """
    import cv2

    part = clip[..., box.top : box.top + box.height, box.left : box.left + box.width, :]
    if part.shape[-3:-1] == (size, size):
        return part
    shrinks = size < min(box.height, box.width)
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    frames = part.reshape(-1, *part.shape[-3:])
    resized = [cv2.resize(frame, (size, size), interpolation=interpolation) for frame in frames]
    return np.stack(resized).reshape(*part.shape[:-3], size, size, part.shape[-1])


def flip_rgb(clip: Clip) -> Clip:
    """Mirror left and right."""
    return clip[..., ::-1, :]


def flip_flow(clip: Clip) -> Clip:
    """Mirror left and right, and turn u round: what moved right now moves left.

    Around the stored zero, 128, the opposite of q is 256 - q (0, which is never stored but may come
    out of a lossy codec, becomes 255).
    """
    mirrored = clip[..., ::-1, :].copy()
    mirrored[..., 0] = np.minimum(256 - mirrored[..., 0].astype(np.int16), 255)
    return mirrored
