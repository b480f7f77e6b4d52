"""The data term of TV-L1, made linear in the flow, and the memory layout of its compiled loops.

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

import numpy as np

from flow_extract.compiled import compiled

# Floats before the first column: a cache line of 64 bytes.
LEFT = 16
# Squared gradients below this carry no information (float32's epsilon, as in OpenCV).
FLAT = np.float32(1.19e-7)
ZERO = np.float32(0)
ONE = np.float32(1)


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


@compiled("void(f4[:,::1], f4[:,:,::1], f4[:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1])")
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
