"""Moving pictures whose flow is known exactly, and the error of a flow against the true one.

A motion step is an affine matrix, float64 (2, 3): what is at (x, y) in one frame is at
`matrix @ (x, y, 1)` in the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import cv2
import numpy as np

from twostream_base.errors import InputError

# Of .flo files. The first float, whose bytes read "PIEH".
MAGIC = 202021.25
# Components of at least this size mark an unknown pixel.
UNKNOWN = 1e9
# A side beyond this is not believed: the file is damaged.
LARGEST_SIDE = 1 << 16


def smooth_texture(
    size: tuple[int, int], *, rng: np.random.Generator, cutoff: float = 0.12
) -> np.ndarray:
    """Random grey texture, float32 (height, width) in 0..1, whose opposite edges fit together.

    Args:
        cutoff: spatial frequency, in cycles per pixel, above which the picture fades out; low
            enough and sub-pixel motion is rendered without visible aliasing.
    """
    height, width = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    spectrum = np.fft.fft2(rng.normal(size=size)) * np.exp(-((frequency / cutoff) ** 2))
    spectrum[0, 0] = 0
    texture = np.fft.ifft2(spectrum).real
    return np.clip(0.5 + 0.2 * texture / max(texture.std(), 1e-12), 0, 1).astype(np.float32)


def translation(u: float, v: float) -> np.ndarray:
    """The step that moves everything by u pixels to the right and v down."""
    return np.array([[1.0, 0.0, u], [0.0, 1.0, v]])


def rotation(degrees: float, *, centre: tuple[float, float]) -> np.ndarray:
    """The step that turns everything about `centre` (x, y), clockwise on the screen."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, np.array(centre) - turn @ centre])


def affine_flow(step: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Flow of one step, float32 (height, width, 2)."""
    y, x = np.indices(size, dtype=np.float64)
    moved = np.stack([x, y, np.ones_like(x)], axis=-1) @ step.T
    return (moved - np.stack([x, y], axis=-1)).astype(np.float32)


def warp(texture: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Move a picture (bicubic); it is repeated without end, so nothing empty comes into view."""
    size = texture.shape[1::-1]
    return cv2.warpAffine(texture, motion, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)


def moving_clip(texture: np.ndarray, steps: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Film a texture that moves by `steps`.

    Each frame is rendered from the texture itself, so errors do not add up.

    Args:
        texture: float (H, W) or (H, W, 3), 0..1; the first frame.
        steps: one motion step for each further frame.

    Returns:
        Frames uint8 (T, H, W, 3) and flow float32 (T-1, H, W, 2), with T = len(steps) + 1.
    """
    colour = texture if texture.ndim == 3 else np.repeat(texture[..., None], 3, axis=-1)
    motion = np.eye(3)
    pictures = [colour]
    for step in steps:
        motion = np.vstack([step, [0, 0, 1]]) @ motion
        pictures.append(warp(colour, motion[:2]))
    frames = np.rint(np.clip(np.stack(pictures), 0, 1) * 255).astype(np.uint8)
    flow = [affine_flow(step, colour.shape[:2]) for step in steps]
    return frames, np.stack(flow) if flow else np.empty((0, *colour.shape[:2], 2), np.float32)


def read_flo(path: str | PathLike[str]) -> np.ndarray:
    """Read a Middlebury .flo file: float32 (H, W, 2), NaN where the flow is not known.

    Format: Baker et al., A Database and Evaluation Methodology for Optical Flow, IJCV 2011.

    Raises:
        InputError: not a .flo file, or truncated or too long.
    """
    data = Path(path).read_bytes()
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != MAGIC:
        raise InputError(f"{path}: not a .flo file; it must begin with the bytes PIEH")
    width, height = (int(side) for side in np.frombuffer(data, "<i4", 2, offset=4))
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise InputError(f"{path}: claims {width} x {height} pixels; the file is damaged")
    expected = 12 + 8 * width * height
    if len(data) != expected:
        raise InputError(
            f"{path}: {len(data):,} bytes; {width} x {height} pixels take {expected:,}. "
            "Download the file again"
        )
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    flow[~(np.abs(flow) < UNKNOWN).all(axis=-1)] = np.nan
    return flow


def endpoint_error(flow: np.ndarray, truth: np.ndarray) -> float:
    """Mean Euclidean distance, in pixels, of flow (..., 2) from the truth where that is known.

    Args:
        flow: finite everywhere; a NaN in it gives NaN.
        truth: of the same shape; a pixel with a NaN is unknown and left out.

    Raises:
        InputError: different shapes, or a truth that is known nowhere.
    """
    if flow.shape != truth.shape:
        raise InputError(f"flow {flow.shape} and truth {truth.shape} differ in shape")
    known = ~np.isnan(truth).any(axis=-1)
    if not known.any():
        raise InputError(f"the true flow {truth.shape} is known at no pixel")
    difference = flow[known].astype(np.float64) - truth[known]
    return float(np.hypot(difference[:, 0], difference[:, 1]).mean())
