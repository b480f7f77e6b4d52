from __future__ import annotations

import cv2
import numpy as np
import pytest

from twostream.transforms.boxes import Box, whole
from twostream.transforms.clips import crop_and_resize, flip_flow, flip_rgb


def test_crop_without_resize_is_the_part_itself() -> None:
    clip = np.arange(2 * 6 * 8 * 3, dtype=np.uint8).reshape(2, 6, 8, 3)
    assert (crop_and_resize(clip, Box(1, 2, 4, 4), size=4) == clip[:, 1:5, 2:6]).all()


@pytest.mark.parametrize("shape", [(5, 3, 20, 30, 3), (5, 3, 20, 30, 2), (20, 30, 2)])
def test_resize_keeps_leading_axes_and_equals_opencv(shape: tuple[int, ...]) -> None:
    clip = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    resized = crop_and_resize(clip, whole(20, 30), size=16)
    assert resized.shape == (*shape[:-3], 16, 16, shape[-1])
    first = clip.reshape(-1, *shape[-3:])[0]
    expected = cv2.resize(first, (16, 16), interpolation=cv2.INTER_AREA)
    assert (resized.reshape(-1, 16, 16, shape[-1])[0] == expected).all()


def moving_square(dx: int, dy: int) -> np.ndarray:
    frames = np.zeros((2, 64, 64), dtype=np.uint8)
    texture = np.random.default_rng(1).integers(60, 255, (24, 24), dtype=np.uint8)
    texture = cv2.GaussianBlur(texture, (5, 5), 1)
    for t in (0, 1):
        frames[t, 20 + t * dy : 44 + t * dy, 20 + t * dx : 44 + t * dx] = texture
    return frames


def flow_of(frames: np.ndarray) -> np.ndarray:
    return cv2.calcOpticalFlowFarneback(frames[0], frames[1], None, 0.5, 3, 15, 3, 5, 1.2, 0)


def test_flipping_flow_is_the_flow_of_the_flipped_video() -> None:
    """A square moves right and down; seen in a mirror it moves left and down."""
    frames = moving_square(dx=3, dy=2)
    flow = flow_of(frames)
    stored = np.rint(128 + flow * 127 / 20).astype(np.uint8)
    mirrored = np.rint(128 + flow_of(frames[:, :, ::-1].copy()) * 127 / 20).astype(np.uint8)
    flipped = flip_flow(stored[None])[0]
    inside = (slice(26, 40), slice(22, 36))  # the square in the mirrored frame
    assert abs(flipped[inside].astype(int) - mirrored[inside]).max() <= 2
    assert np.median(flipped[inside][..., 0]) == round(128 - 3 * 127 / 20)
    assert np.median(flipped[inside][..., 1]) == round(128 + 2 * 127 / 20)


def test_flip_flow_turns_every_value_round() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 1, 256, 1).repeat(2, axis=-1)
    flipped = flip_flow(values)[0, 0, ::-1]
    assert flipped[:, 1].tolist() == list(range(256))
    assert flipped[1:, 0].tolist() == [256 - q for q in range(1, 256)]
    assert flipped[0, 0] == 255
    assert flipped[128, 0] == 128


def test_flip_rgb_mirrors_only() -> None:
    clip = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert flip_rgb(clip)[0, 0].tolist() == [[3, 4, 5], [0, 1, 2]]
