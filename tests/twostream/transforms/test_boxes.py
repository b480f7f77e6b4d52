from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twostream.transforms.boxes import Box, centre_box, random_corner_box, whole
from twostream.transforms.presets import MODALITIES


def test_whole_and_centre() -> None:
    assert whole(240, 320) == Box(0, 0, 240, 320)
    assert centre_box(240, 320, size=224) == Box(top=8, left=48, height=224, width=224)


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
