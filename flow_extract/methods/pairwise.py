"""From a method for two grey frames to one for clips."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from twostream_base.heartbeat import beat

if TYPE_CHECKING:
    import numpy as np

PairMethod = Callable[["np.ndarray", "np.ndarray"], "np.ndarray"]
ClipMethod = Callable[["np.ndarray"], "np.ndarray"]


def over_clips(pair_flow: PairMethod) -> ClipMethod:
    """Lift `(grey, next grey) -> flow (H, W, 2)` to frames (T, H, W, 3) -> flow (T-1, H, W, 2)."""

    def clip_flow(frames: np.ndarray) -> np.ndarray:
        import cv2
        import numpy as np

        check_frames(frames)
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        flows = []
        for first, second in pairwise(grey):
            flows.append(pair_flow(first, second))
            beat()
        return np.stack(flows)

    return clip_flow


def check_frames(frames: np.ndarray) -> None:
    """Raise ValueError unless `frames` is uint8 (T, H, W, 3) with T >= 2 and pixels in it."""
    right_shape = frames.ndim == 4 and frames.shape[-1] == 3 and frames.size > 0
    if frames.dtype != "uint8" or not right_shape or len(frames) < 2:
        raise ValueError(
            f"frames are {frames.dtype} {frames.shape}; flow needs uint8 (T, H, W, 3) with T >= 2"
        )
