"""The methods of OpenCV: DIS, fast and good, the default; and Farneback's.

Kroeger, Timofte, Dai, Van Gool: Fast Optical Flow using Dense Inverse Search, ECCV 2016.
Farneback: Two-Frame Motion Estimation Based on Polynomial Expansion, SCIA 2003.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow_extract.methods.pairwise import ClipMethod, over_clips

if TYPE_CHECKING:
    import numpy as np


# Values of OpenCV's DISOPTICAL_FLOW_PRESET_...
PRESETS = {"ultrafast": 0, "fast": 1, "medium": 2}
# OpenCV refuses frames under 8 pixels and crashes (segmentation fault) on some narrow ones, such as
# 31 x 100: its pyramid then ends below the size of a patch. From 32 pixels a side on it works.
SMALLEST_SIDE = 32


def make_dis(*, preset: str = "medium") -> ClipMethod:
    """DIS at the frames' own size, with one of OpenCV's presets: ultrafast, fast or medium.

    Sides under 32 pixels are padded to 32 by repeating the border, half on either end, and the flow
    is cut back: the result has the size of the frames, even for a frame of one pixel.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset is {preset!r}; allowed: {', '.join(PRESETS)}")

    def pair_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        import cv2

        # A new object for each pair: OpenCV's keeps what it adapted to the size of earlier frames,
        # and making one takes microseconds.
        method = cv2.DISOpticalFlow.create(PRESETS[preset])
        missing = [max(0, SMALLEST_SIDE - side) for side in first.shape]
        (top, bottom), (left, right) = ((side // 2, side - side // 2) for side in missing)
        padded = [
            cv2.copyMakeBorder(grey, top, bottom, left, right, cv2.BORDER_REPLICATE)
            for grey in (first, second)
        ]
        flow = method.calc(*padded, None)  # type: ignore[call-overload]
        height, width = first.shape
        return flow[top : top + height, left : left + width]

    return over_clips(pair_flow)


def make_farneback(
    *,
    pyr_scale: float = 0.5,
    levels: int = 3,
    winsize: int = 15,
    iterations: int = 3,
    poly_n: int = 5,
    poly_sigma: float = 1.2,
) -> ClipMethod:
    """Smooth flow from polynomial expansion, bit-identical from OpenCV 4.13 to 5.0.

    The options are those of `cv2.calcOpticalFlowFarneback`, by its names.
    """

    def pair_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        import cv2

        return cv2.calcOpticalFlowFarneback(  # type: ignore[call-overload]
            first, second, None, pyr_scale, levels, winsize, iterations, poly_n, poly_sigma, 0
        )

    return over_clips(pair_flow)
