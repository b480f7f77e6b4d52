"""Coarse to fine: what both solvers of TV-L1 share around their iterations.

A level is solved by a function that refines a flow u, float32 (2, H, W): (u right, v down).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SMALLEST_SIDE = 16

# (first frame, second frame, u so far) -> u; frames float32 (H, W), values 0 to 255.
SolveLevel = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def coarse_to_fine(
    first: np.ndarray, second: np.ndarray, solve: SolveLevel, *, scales: int, scale_step: float
) -> np.ndarray:
    """Flow float32 (H, W, 2) between grey frames uint8 (H, W), solved level by level.

    The coarsest level begins with no motion, every other one with the flow of the level below it.
    """
    firsts, seconds = (pyramid(frame, scales=scales, step=scale_step) for frame in (first, second))
    u = np.zeros((2, *firsts[-1].shape), np.float32)
    for level_first, level_second in zip(reversed(firsts), reversed(seconds), strict=True):
        if u.shape[1:] != level_first.shape:
            u = _enlarge(u, level_first.shape) / np.float32(scale_step)
        u = solve(level_first, level_second, u)
    return np.stack([*u], axis=-1)


def pyramid(frame: np.ndarray, *, scales: int, step: float) -> list[np.ndarray]:
    """A frame as float32 and up to `scales - 1` smaller copies, the finest first.

    Each is `step` times the size of the one before; no side gets under 16 pixels.
    """
    levels: list[np.ndarray] = [frame.astype(np.float32)]
    while len(levels) < scales and round(min(levels[-1].shape) * step) >= SMALLEST_SIDE:
        levels.append(cv2.resize(levels[-1], None, fx=step, fy=step))
    return levels


def with_gradients(picture: np.ndarray) -> np.ndarray:
    """A picture and its central differences along x and y, float32 (H, W, 3)."""
    along_x, along_y = (
        cv2.Sobel(picture, cv2.CV_32F, *order, ksize=1, scale=0.5, borderType=cv2.BORDER_REPLICATE)
        for order in ((1, 0), (0, 1))
    )
    return cv2.merge([picture, along_x, along_y])


def warp(pictures: np.ndarray, u: np.ndarray, *, interpolation: int) -> np.ndarray:
    """Pictures float32 (H, W, 3) looked up at x + u; 0 outside of them, as in OpenCV's TV-L1."""
    rows, columns = (np.arange(side, dtype=np.float32) for side in u.shape[1:])
    return cv2.remap(pictures, columns + u[0], rows[:, None] + u[1], interpolation)


def filter_median(u: np.ndarray, size: int) -> None:
    """Replace each component of u by the median of size x size pixels, in place."""
    if size > 1:
        for component in u:
            cv2.medianBlur(component, size, dst=component)


def _enlarge(u: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return np.stack([cv2.resize(component, size[::-1]) for component in u])
