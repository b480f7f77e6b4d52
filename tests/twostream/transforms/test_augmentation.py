from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from twostream.transforms.augmentation import CROPS, Augmentation, augment
from twostream.transforms.boxes import Box
from twostream.transforms.clips import Clip
from twostream.transforms.presets import MODALITIES


def vary(clip: Clip, stream: str, augmentation: Augmentation, *, seed: int, size: int = 32) -> Clip:
    rng = np.random.default_rng(seed)
    return augment(clip, MODALITIES[stream], augmentation, size=size, rng=rng)


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize(
    ("stream", "colour"), [("spatial", 0.4), ("spatial", 0.0), ("motion", 0.0)]
)
def test_all_frames_are_treated_alike(stream: str, colour: float, crop: str) -> None:
    channels = MODALITIES[stream].channels
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, channels), dtype=np.uint8)
    clip = np.broadcast_to(frame, (3, 4, *frame.shape))
    augmented = vary(clip, stream, Augmentation(CROPS[crop], colour=colour), seed=5)
    assert augmented.shape == (3, 4, 32, 32, channels)
    assert augmented.dtype == np.uint8
    assert (augmented == augmented[0, 0]).all()


@pytest.mark.parametrize("flip", [True, False])
def test_half_of_the_clips_are_mirrored_if_wanted(flip: bool) -> None:
    clip = np.zeros((1, 1, 32, 32, 2), dtype=np.uint8)
    clip[..., 0] = 200  # mirrored: 256 - 200
    augmentation = Augmentation(flip=flip)
    values = Counter(
        int(vary(clip, "motion", augmentation, seed=i, size=16).max()) for i in range(400)
    )
    assert set(values) == ({200, 56} if flip else {200})
    assert not flip or 160 < values[56] < 240


def boxes(name: str, *, size: int, height: int = 24, width: int = 32) -> set[Box]:
    scales = MODALITIES["spatial"].scales
    return {
        CROPS[name](height, width, scales=scales, size=size, rng=np.random.default_rng(seed))
        for seed in range(2000)
    }


def test_random_squares_are_everywhere() -> None:
    expected = {Box(top, left, 20, 20) for top in range(5) for left in range(13)}
    assert boxes("random", size=20) == expected
    assert boxes("random", size=99) == {Box(0, left, 24, 24) for left in range(9)}


def test_the_whole_frame() -> None:
    assert boxes("whole", size=20) == {Box(0, 0, 24, 32)}


def test_corners_have_several_sizes() -> None:
    assert {box.height for box in boxes("corners", size=20)} == {24, 21, 18, 16}


def test_without_colour_nothing_else_is_drawn() -> None:
    """So a run without the option draws what it always drew."""
    states = []
    for colour in (0.0, 0.4):
        rng = np.random.default_rng(3)
        clip = np.zeros((1, 1, 32, 32, 3), dtype=np.uint8)
        augment(clip, MODALITIES["spatial"], Augmentation(colour=colour), size=16, rng=rng)
        states.append(rng.random())
    assert states[0] != states[1]
