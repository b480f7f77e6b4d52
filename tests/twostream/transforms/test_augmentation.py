from __future__ import annotations

import numpy as np
import pytest

from twostream.transforms.augmentation import CROPS, Augmentation, draw_view, vary
from twostream.transforms.boxes import Box
from twostream.transforms.colour import change_colour, draw_colour_change
from twostream.transforms.presets import MODALITIES


@pytest.mark.parametrize("flip", [True, False])
def test_half_of_the_views_are_mirrored_if_wanted(flip: bool) -> None:
    views = [
        draw_view(
            40, 60, MODALITIES["motion"], Augmentation(flip=flip), size=32,
            rng=np.random.default_rng(seed),
        )
        for seed in range(400)
    ]  # fmt: skip
    mirrored = sum(view.mirrored for view in views)
    assert 160 < mirrored < 240 if flip else mirrored == 0


@pytest.mark.parametrize("colour", [0.4, 0.0])
def test_colours_of_all_frames_change_alike(colour: float) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (3, 40, 60), dtype=np.uint8)
    clip = np.tile(frame, (3, 4, 1, 1, 1))
    rng, again = np.random.default_rng(5), np.random.default_rng(5)
    vary(clip, MODALITIES["spatial"], Augmentation(colour=colour), rng=rng)
    assert (clip == clip[0, 0]).all()
    if colour:
        change = draw_colour_change(colour, rng=again)
        expected = change_colour(np.moveaxis(frame, 0, -1), change)
        assert (clip[0, 0] == np.moveaxis(expected, -1, 0)).all()
        assert (clip[0, 0] != frame).any()
    else:
        assert (clip[0, 0] == frame).all()
    assert rng.random() == again.random(), "without colour nothing is drawn"


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
