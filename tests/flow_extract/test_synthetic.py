from __future__ import annotations

import struct

import numpy as np
import pytest

from flow_extract.synthetic import (
    affine_flow,
    endpoint_error,
    moving_clip,
    read_flo,
    rotation,
    smooth_texture,
    translation,
    warp,
)
from twostream_base.errors import InputError


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


def flo_bytes(flow: np.ndarray) -> bytes:
    height, width = flow.shape[:2]
    return b"PIEH" + struct.pack("<ii", width, height) + flow.astype("<f4").tobytes()


def test_reads_flow_and_marks_unknown_pixels(tmp_path):
    flow = np.float32([[[1, 2], [3, 4], [1.7e9, 1.7e9]], [[-1, 0], [0, 2e9], [5, np.nan]]])
    path = tmp_path / "truth.flo"
    path.write_bytes(flo_bytes(flow))
    read = read_flo(path)
    assert read.dtype == np.float32
    assert read.shape == (2, 3, 2)
    assert read[0, :2].tolist() == [[1, 2], [3, 4]]
    assert np.isnan(read[..., 0]).tolist() == [[False, False, True], [False, True, True]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a .flo file"),
        (b"PIEH\0\0\0\0", "not a .flo file"),
        (b"PNG!" + bytes(20), "must begin with the bytes PIEH"),
        (b"PIEH" + struct.pack("<ii", -1, 5), "claims -1 x 5 pixels"),
        (b"PIEH" + struct.pack("<ii", 1 << 30, 1 << 30), "file is damaged"),
        (flo_bytes(np.zeros((2, 3, 2)))[:-1], "59 bytes; 3 x 2 pixels take 60"),
        (flo_bytes(np.zeros((2, 3, 2))) + b"x", "61 bytes; 3 x 2 pixels take 60"),
    ],
)
def test_refuses_broken_files(tmp_path, data, message):
    path = tmp_path / "broken.flo"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        read_flo(path)
    assert str(path) in str(error.value)


def test_endpoint_error_leaves_unknown_pixels_out():
    truth = np.float32([[[0, 0], [1, 1], [np.nan, np.nan]]])
    flow = np.float32([[[3, 4], [1, 1], [100, 100]]])
    assert endpoint_error(flow, truth) == 2.5


def test_endpoint_error_of_other_shapes_or_nothing_known():
    with pytest.raises(InputError, match="differ in shape"):
        endpoint_error(np.zeros((2, 2, 2)), np.zeros((2, 3, 2)))
    with pytest.raises(InputError, match="known at no pixel"):
        endpoint_error(np.zeros((1, 1, 2)), np.full((1, 1, 2), np.nan))


@pytest.mark.parametrize(
    ("pair", "unknown", "zero_flow"),
    [("Dimetrodon", 10772, 2.06), ("RubberWhale", 3622, 1.26), ("Urban2", 0, 8.39)],
)
def test_figures_of_middlebury(pair, unknown, zero_flow, shared_data):
    truth = read_flo(shared_data / "flow-middlebury" / pair / "flow10.flo")
    assert np.isnan(truth).any(axis=-1).sum() == unknown
    assert endpoint_error(np.zeros_like(truth), truth) == pytest.approx(zero_flow, abs=0.005)
