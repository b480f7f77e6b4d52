"""A few seconds from a camera, as a video file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twostream.errors import InputError

DEFAULT_FPS = 25.0


def record(camera: int, path: Path, *, seconds: float) -> None:
    """Record from camera number `camera` (0 is the first) into the AVI file `path`, as JPEGs.

    Raises:
        InputError: there is no such camera, or it gives no picture.
    """
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(camera)
    try:
        frames = _copy(capture, path, seconds=seconds) if capture.isOpened() else 0
    finally:
        capture.release()
    if not frames:
        raise InputError(
            f"camera {camera}: it cannot be opened or gives no picture; look whether it is "
            "connected and free, try another number, or give a video file"
        )


def _copy(capture: Any, path: Path, *, seconds: float) -> int:
    """Write what the camera gives; return how many frames that were."""
    import cv2

    fps = capture.get(cv2.CAP_PROP_FPS)
    fps = fps if 0 < fps < 1e3 else DEFAULT_FPS
    writer, frames = None, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and (frame := capture.read()[1]) is not None:
        if writer is None:
            code = cv2.VideoWriter.fourcc(*"MJPG")
            writer = cv2.VideoWriter(str(path), code, fps, frame.shape[1::-1])
        writer.write(frame)
        frames += 1
    if writer is not None:
        writer.release()
    return frames
