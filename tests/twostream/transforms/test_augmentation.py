from __future__ import annotations

import numpy as np
import pytest

from twostream.transforms.augmentation import (
    CROPS,
    Augmentation,
    ColourChange,
    augment_,
    change_colour,
    draw_colour_change,
    draw_view,
)
from twostream.transforms.boxes import Box
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
    augment_(clip, MODALITIES["spatial"], Augmentation(colour=colour), rng=rng)
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


CLIP = np.random.default_rng(0).integers(0, 256, (2, 1, 9, 7, 3), dtype=np.uint8)


def reference(clip: np.ndarray, change: ColourChange) -> np.ndarray:
    """One after the other in floating point, cut off at the end."""
    luma = np.array([0.299, 0.587, 0.114])
    bright = clip * change.brightness
    mean = (bright @ luma).mean()
    contrasted = change.contrast * bright + (1 - change.contrast) * mean
    grey = (contrasted @ luma)[..., None]
    return np.clip(change.saturation * contrasted + (1 - change.saturation) * grey, 0, 255)


@pytest.mark.parametrize(
    "change",
    [(1, 1, 1), (1.4, 1, 1), (1, 0.6, 1), (1, 1, 0), (1, 1, 1.4), (0.7, 1.3, 1.2), (1.3, 0.6, 0.8)],
)
def test_against_one_after_the_other(change: tuple[float, ...]) -> None:
    changed = change_colour(CLIP, ColourChange(*change))
    assert changed.dtype == np.uint8
    assert changed.shape == CLIP.shape
    assert np.abs(changed - reference(CLIP, ColourChange(*change))).max() <= 1.0


def test_nothing_changes_nothing_and_no_saturation_is_grey() -> None:
    assert (change_colour(CLIP, ColourChange(1, 1, 1)) == CLIP).all()
    grey = change_colour(CLIP, ColourChange(1, 1, 0)).astype(int)
    assert np.ptp(grey, axis=-1).max() <= 1


def test_a_mirrored_view_is_fine() -> None:
    change = ColourChange(1.2, 0.9, 1.1)
    mirrored = change_colour(CLIP[..., ::-1, :], change)
    assert (mirrored == change_colour(CLIP, change)[..., ::-1, :]).all()


def test_factors_are_drawn_around_one() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_colour_change(0.4, rng=rng) for _ in range(300)])
    assert drawn.min() >= 0.6
    assert drawn.max() <= 1.4
    assert np.allclose(drawn.mean(axis=0), 1.0, atol=0.05)
    assert drawn.min(axis=0).max() < 0.65
