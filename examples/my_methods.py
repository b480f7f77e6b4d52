"""A flow method and a fusion strategy of one's own: two functions, and no line elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np


def block_matching(*, block: int = 9, reach: int = 4) -> Callable[[np.ndarray], np.ndarray]:
    """Flow by exhaustive search: each block is compared with all places within reach.

    Args:
        block: side of the blocks, pixels, odd.
        reach: largest motion that is found, pixels, in each direction.
    """

    def flow_of_pair(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        best = np.full(first.shape, np.inf, np.float32)
        flow = np.zeros((*first.shape, 2), np.float32)
        steps = range(-reach, reach + 1)
        # Short motions first: where two places look alike, the nearer one wins.
        for u, v in sorted(((u, v) for u in steps for v in steps), key=np.linalg.norm):
            moved = cv2.warpAffine(
                second, np.float32([[1, 0, -u], [0, 1, -v]]), second.shape[::-1],
                borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
            error = cv2.boxFilter(np.abs(first - moved), -1, (block, block))
            better = error < best
            best[better], flow[better] = error[better], (u, v)
        return flow

    def flow(frames: np.ndarray) -> np.ndarray:  # uint8 (T, H, W, 3) -> float32 (T-1, H, W, 2)
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames]
        return np.stack([flow_of_pair(*pair) for pair in zip(grey, grey[1:], strict=False)])

    return flow


def trimmed(scores: np.ndarray, *, cut: float = 0.2) -> np.ndarray:
    """The mean of each class without its lowest and its highest scores.

    Args:
        scores: float64 (..., members, classes): crops, segments or streams.
        cut: which share of the members is left out at each end, below 0.5.
    """
    left_out = int(cut * scores.shape[-2])
    ordered = np.sort(scores, axis=-2)
    return ordered[..., left_out : scores.shape[-2] - left_out, :].mean(axis=-2)
