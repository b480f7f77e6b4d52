import numpy as np
import pytest

from flow_extract.synthetic import (
    affine_flow,
    moving_clip,
    rotation,
    smooth_texture,
    translation,
    warp,
)


@pytest.fixture
def texture() -> np.ndarray:
    return smooth_texture((40, 56), rng=np.random.default_rng(7))


def test_texture_is_in_range_repeatable_and_periodic(texture):
    again = smooth_texture((40, 56), rng=np.random.default_rng(7))
    assert (texture == again).all()
    assert texture.dtype == np.float32
    assert texture.min() >= 0
    assert texture.max() <= 1
    assert texture.std() > 0.1
    inner = np.abs(np.diff(texture, axis=1)).mean()
    assert np.abs(texture[:, 0] - texture[:, -1]).mean() < 2 * inner


def test_whole_pixel_translation_is_a_roll(texture):
    moved = warp(texture, translation(3, -2))
    assert np.allclose(moved, np.roll(texture, (-2, 3), axis=(0, 1)), atol=1e-5)


def test_flow_of_a_translation_and_of_a_quarter_turn():
    assert (affine_flow(translation(1.5, -0.5), (2, 3)) == [1.5, -0.5]).all()
    quarter = affine_flow(rotation(90, centre=(1, 1)), (3, 3))
    # clockwise on the screen: the top goes right, the right side down, the middle stays
    assert np.allclose(quarter[0, 1], [1, 1])
    assert np.allclose(quarter[1, 2], [-1, 1])
    assert np.allclose(quarter[1, 1], [0, 0])


def test_rotation_keeps_the_centre_and_moves_the_picture(texture):
    step = rotation(180, centre=((56 - 1) / 2, (40 - 1) / 2))
    assert np.allclose(warp(texture, step), texture[::-1, ::-1], atol=1e-4)


def test_clip_is_rendered_from_the_first_frame(texture):
    steps = [translation(0.25, 0.5)] * 8
    frames, flow = moving_clip(texture, steps)
    assert frames.shape == (9, 40, 56, 3)
    assert frames.dtype == np.uint8
    assert flow.shape == (8, 40, 56, 2)
    rolled = np.roll(frames[0].astype(int), (4, 2), axis=(0, 1))
    assert np.abs(frames[8] - rolled).max() <= 1


def test_one_frame_has_no_flow(texture):
    frames, flow = moving_clip(texture, [])
    assert frames.shape == (1, 40, 56, 3)
    assert flow.shape == (0, 40, 56, 2)
