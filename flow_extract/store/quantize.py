"""Flow as 8-bit numbers and back."""

from __future__ import annotations

import numpy as np

ZERO = 128
LEVELS = 127
DEFAULT_BOUND = 20.0


def quantize(flow: np.ndarray, *, bound: float = DEFAULT_BOUND) -> np.ndarray:
    """Clip flow to +-`bound` pixels and store it as uint8, `round(128 + flow * 127 / bound)`.

    Standing still is exactly 128, -bound is 1 and +bound is 255; 0 does not occur, so that both
    directions have equally many levels. A half is rounded to the even level.

    Raises:
        ValueError: the flow has a NaN or an infinity.
    """
    # The extremes of an array are finite exactly when all of it is, and need no temporary array.
    if flow.size and not (np.isfinite(flow.min()) and np.isfinite(flow.max())):
        raise ValueError("the flow has values that are not finite")
    scaled = np.clip(flow, -bound, bound) * (LEVELS / bound) + ZERO
    return np.rint(scaled).astype(np.uint8)


def dequantize(levels: np.ndarray, *, bound: float = DEFAULT_BOUND) -> np.ndarray:
    """Flow in pixels (float32) from its 8-bit form, off by `bound / 254` at most if not clipped."""
    return (levels.astype(np.float32) - ZERO) * np.float32(bound / LEVELS)
