from __future__ import annotations

import numpy as np
import pytest

from twostream.transforms.colour import ColourChange, change_colour, draw_colour_change

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
