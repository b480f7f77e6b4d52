"""What both solvers of TV-L1 share: the pyramid, warping, the data term, and compiled loops.

Notation of Sanchez Perez, Meinhardt-Llopis and Facciolo (IPOL 2013), all arrays float32:

    u         flow, (2, H, stride): components along x and y
    p         dual variable, (2, 2, H + 1, stride): for each component of u, along x and y
    gradient  of the warped second frame, (2, H, W)
    constant  the part of the residual that does not depend on u: rho(u) = constant + gradient . u
    inverse   1 / |gradient|^2, (H, W); 0 where the frame is flat

Rows of u and p are padded on both sides, and row y of a picture is row y + 1 of p: p has zeros
before its first column and row, u repeats its last column. So no border needs a branch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numba
import numpy as np

SMALLEST_SIDE = 16
# Floats before the first column: a cache line of 64 bytes.
LEFT = 16
# Squared gradients below this carry no information (float32's epsilon, as in OpenCV).
FLAT = np.float32(1.19e-7)
ZERO = np.float32(0)
ONE = np.float32(1)

# Refines a flow u, float32 (2, H, W), on one level of the pyramid: (first frame, second frame, u so
# far) -> u; frames float32 (H, W), values 0 to 255.
SolveLevel = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Function = Callable[..., Any]


def njit_eager(signature: Any, *, fastmath: bool = True) -> Callable[[Function], Function]:
    """Compile a loop for these types when its module is imported, or load it from the disk.

    So a process that has imported the module hands the loops, ready to run, to those it forks.
    They run without Python's lock. LLVM makes vector code of a loop over slices of single rows, and
    only if all its scalars are float32, or int32: one Python number would make it 64 bits wide.
    """

    # fastmath reorders sums; last bits differ between processors: test with a tolerance.
    jit = partial(numba.njit, signature, nogil=True, fastmath=fastmath, error_model="numpy")

    def compile_or_load(function: Function) -> Function:
        try:
            return jit(cache=True)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written
            return jit()(function)

    return compile_or_load


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
            enlarged = [cv2.resize(component, level_first.shape[::-1]) for component in u]
            u = np.stack(enlarged) / np.float32(scale_step)
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


def padded(*shape: int) -> np.ndarray:
    """Zeros of that shape, each row with `LEFT` more before it and at least one after it."""
    *outer, width = shape
    stride = LEFT + -(-(width + 1) // LEFT) * LEFT
    return np.zeros((*outer, stride), np.float32)


def inside(planes: np.ndarray, width: int) -> np.ndarray:
    """The pictures within padded planes, as a view."""
    return planes[..., LEFT : LEFT + width]


def linearise(
    first: np.ndarray, warped: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The data term around u: `gradient`, `constant` and `inverse`.

    Args:
        first: frame (H, W).
        warped: second frame and its two derivatives, looked up at x + u: (H, W, 3).
        u: padded flow.
    """
    gradient = np.empty((2, *first.shape), np.float32)
    constant, inverse = np.empty_like(first), np.empty_like(first)
    _linearise(first, warped, u, gradient, constant, inverse)
    return gradient, constant, inverse


@njit_eager("void(f4[:,::1], f4[:,:,::1], f4[:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1])")
def _linearise(
    first: np.ndarray,
    warped: np.ndarray,
    u: np.ndarray,
    gradient: np.ndarray,
    constant: np.ndarray,
    inverse: np.ndarray,
) -> None:
    height, width = first.shape
    for y in range(height):
        for x in range(width):
            along_x, along_y = warped[y, x, 1], warped[y, x, 2]
            moved = along_x * u[0, y, LEFT + x] + along_y * u[1, y, LEFT + x]
            squared = along_x * along_x + along_y * along_y
            gradient[0, y, x], gradient[1, y, x] = along_x, along_y
            constant[y, x] = warped[y, x, 0] - moved - first[y, x]
            inverse[y, x] = ONE / squared if squared > FLAT else ZERO
