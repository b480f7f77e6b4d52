"""Farneback's method: smooth flow from polynomial expansion, bit-identical from OpenCV 4.13 to 5.0.

Farneback: Two-Frame Motion Estimation Based on Polynomial Expansion, SCIA 2003.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow_extract.methods.pairwise import ClipMethod, over_clips

if TYPE_CHECKING:
    import numpy as np


def make_farneback(
    *,
    pyr_scale: float = 0.5,
    levels: int = 3,
    winsize: int = 15,
    iterations: int = 3,
    poly_n: int = 5,
    poly_sigma: float = 1.2,
) -> ClipMethod:
    """Farneback's flow; the options are those of `cv2.calcOpticalFlowFarneback`, by its names."""

    def pair_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        import cv2

        return cv2.calcOpticalFlowFarneback(  # type: ignore[call-overload]
            first, second, None, pyr_scale, levels, winsize, iterations, poly_n, poly_sigma, 0
        )

    return over_clips(pair_flow)
