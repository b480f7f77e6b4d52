"""Slow and plain: what the views of a clip are, for the fast way to be held against."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from twostream.transforms.clips import Box, View


def crop_and_resize(frame: np.ndarray, box: Box, *, size: int) -> np.ndarray:
    part = frame[box.top : box.top + box.height, box.left : box.left + box.width]
    if part.shape[:2] == (size, size):
        return part
    shrinks = size < min(box.height, box.width)
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    # Plane by plane: halving two together, OpenCV rounds otherwise than one alone.
    planes = [
        cv2.resize(np.ascontiguousarray(part[..., c]), (size, size), interpolation=interpolation)
        for c in range(part.shape[-1])
    ]
    return np.stack(planes, axis=-1)


def mirrored(frame: np.ndarray) -> np.ndarray:
    frame = frame[:, ::-1].copy()
    if frame.shape[-1] == 2:
        frame[..., 0] = np.minimum(256 - frame[..., 0].astype(int), 255)
    return frame


def plain_view(frame: np.ndarray, view: View, *, size: int) -> np.ndarray:
    """(H, W, C) -> (C, size, size)."""
    cropped = crop_and_resize(frame, view.box, size=size)
    return np.moveaxis(mirrored(cropped) if view.mirrored else cropped, -1, 0)


def plain_views(clip: np.ndarray, views: Sequence[View], *, size: int) -> np.ndarray:
    """(T, H, W, C) -> (R, T, C, size, size)."""
    return np.stack([[plain_view(frame, view, size=size) for frame in clip] for view in views])
