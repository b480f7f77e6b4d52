"""What video files and folders of pictures share: facts, sizes, repeated frames, the error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np

MAX_PIXELS = 8192 * 8192
# A frame repeats another if no block of 8 x 8 pixels differs by more than 12 of 255 levels on
# average: the default bound `hi` of FFmpeg's filter mpdecimate. In UCF101, where one frame in
# eight repeats the one before, encoding again changes a block by 2 to 10 levels, motion by over 20.
BLOCK, BLOCK_LEVELS = 8, 12


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
    if frame.shape[1::-1] == size:
        return frame
    shrinks = size[0] < frame.shape[1]
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def repeats(frame: np.ndarray, other: np.ndarray) -> bool:
    """Whether a frame shows what another does, but for what encoding it changed.

    Conversions to a constant rate repeat frames. Then no block of `BLOCK` x `BLOCK` pixels differs
    by more than `BLOCK_LEVELS` on average, in any colour; what is left at the right and lower
    border is not looked at. So do frames of a scene in which nothing moves.

    Args:
        frame: uint8 (H, W, 3), or (H, W) of brightness alone.
        other: the same.
    """
    if frame.shape != other.shape:
        return False
    rows, columns = (max(1, side // BLOCK) for side in frame.shape[:2])
    # Of all of it at once: OpenCV halves a picture faster than it finds what has changed.
    means = cv2.absdiff(frame, other)[: rows * BLOCK, : columns * BLOCK]
    for part in (4, 2, 1):
        means = cv2.resize(means, (columns * part, rows * part), interpolation=cv2.INTER_AREA)
    return bool(means.max() <= BLOCK_LEVELS)


class FrameSource:
    """The frames of a video: iterate over it, once.

    Attributes:
        repeated: frames so far that repeat the one before, or the last one that did not.
        seconds: when each frame so far is shown, from the first on; pictures have no times.
    """

    repeated = 0
    seconds: Sequence[float] = ()

    def _begin(
        self,
        frames: Iterator[tuple[np.ndarray, np.ndarray]],
        *,
        short_side: int | None,
        drop_repeated: bool,
    ) -> tuple[int, int] | None:
        """Take the first of `frames`; return its height and width, None where there is none.

        Args:
            frames: each uint8 (H, W, 3), with what `repeats` compares of it.
        """
        first = next(frames, None)
        if first is None:
            return None
        height, width = first[0].shape[:2]
        self._frames = chain(iter([first]), frames)  # which lets go of it when it has been taken
        self._size = scaled_size(width, height, short_side) if short_side else (width, height)
        self._drop_repeated = drop_repeated
        return height, width

    def __iter__(self) -> Iterator[np.ndarray]:
        last: np.ndarray | None = None  # that repeats none
        for frame, compared in self._frames:
            if last is not None and repeats(compared, last):
                self.repeated += 1
                if self._drop_repeated:
                    continue
            else:
                last = compared
            yield resize(frame, self._size)
