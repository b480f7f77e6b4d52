"""What video files and folders of pictures share: facts, sizes of frames, and the error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_PIXELS = 8192 * 8192


class VideoError(Exception):
    """A video that gives no frames; the message is the reason, without the file's name."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a video when its first frame has been decoded.

    Attributes:
        width: pixels as displayed, after any rotation.
        height: the same.
        fps: frames per second, on average where they vary; None if unknown.
        num_frames: about how many there are; None if unknown. Headers count frames that are not
            shown, or know only how long the sound is.
        codec: its name in FFmpeg, such as `h264`.
    """

    width: int
    height: int
    fps: float | None
    num_frames: int | None
    codec: str


def scaled_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Width and height with the shorter side at `short_side` and the aspect ratio kept.

    The longer side is rounded to the nearest whole number, a half to the even one (Python's
    `round`): 320 x 240 at 112 gives 149 x 112.
    """
    scale = short_side / min(width, height)
    return round(width * scale), round(height * scale)


def resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to (width, height): by area averaging when smaller (no aliasing), else bilinearly."""
    import cv2

    if frame.shape[1::-1] == size:
        return frame
    shrinks = size[0] < frame.shape[1]
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
