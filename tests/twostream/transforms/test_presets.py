from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twostream.transforms.presets import MODALITIES, augment, random_corner_box


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    stream=st.sampled_from(sorted(MODALITIES)),
    seed=st.integers(0, 99),
)
def test_a_random_box_lies_inside_the_frame(
    height: int, width: int, stream: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    box = random_corner_box(height, width, scales=MODALITIES[stream].scales, rng=rng)
    assert 0 <= box.top <= box.top + box.height <= height
    assert 0 <= box.left <= box.left + box.width <= width
    assert min(box.height, box.width) >= 1


def test_boxes_of_a_ucf101_frame_are_corners_and_centre_of_neighbouring_scales() -> None:
    rng = np.random.default_rng(0)
    boxes = {
        random_corner_box(240, 320, scales=(1.0, 0.875, 0.75, 0.66), rng=rng) for _ in range(3000)
    }
    sides = {(box.height, box.width) for box in boxes}
    assert sides == {
        (240, 240), (240, 210), (210, 240), (210, 210), (210, 180),
        (180, 210), (180, 180), (180, 158), (158, 180), (158, 158),
    }  # fmt: skip
    tops = {box.top for box in boxes if (box.height, box.width) == (180, 180)}
    lefts = {box.left for box in boxes if (box.height, box.width) == (180, 180)}
    assert (tops, lefts) == ({0, 30, 60}, {0, 70, 140})


@pytest.mark.parametrize("stream", MODALITIES)
def test_augmentation_treats_all_frames_alike(stream: str) -> None:
    modality = MODALITIES[stream]
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, modality.channels), dtype=np.uint8)
    clip = np.broadcast_to(frame, (3, 4, *frame.shape))
    augmented = augment(clip, modality, size=32, rng=np.random.default_rng(5))
    assert augmented.shape == (3, 4, 32, 32, modality.channels)
    assert (augmented == augmented[0, 0]).all()


def test_half_of_the_clips_are_mirrored() -> None:
    clip = np.zeros((1, 1, 32, 32, 2), dtype=np.uint8)
    clip[..., 0] = 200
    values = [
        int(augment(clip, MODALITIES["motion"], size=16, rng=np.random.default_rng(i)).max())
        for i in range(400)
    ]
    assert set(values) == {200, 56}
    assert 160 < values.count(56) < 240
