from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from twostream.transforms.augmentation import corners
from twostream.transforms.clips import (
    Box,
    View,
    centre_box,
    corner_boxes,
    cut_views,
    mirror_flow,
    mirror_rgb,
    resize_picture,
    write_box,
    write_views,
)
from twostream.transforms.presets import MODALITIES

from .plain_views import plain_view

MIRRORS = {2: mirror_flow, 3: mirror_rgb}


def written(picture: np.ndarray, views: list[View], *, size: int) -> np.ndarray:
    out = np.full((len(views), picture.shape[-1], size, size), 77, dtype=np.uint8)
    write_views(picture, views, out, mirror=MIRRORS[picture.shape[-1]])
    return out


def apart(picture: np.ndarray) -> np.ndarray:
    """The same values, with the channels side by side in memory, as JPEG gives them."""
    height, width, channels = picture.shape
    side_by_side = np.concatenate([picture[..., c] for c in range(channels)], axis=1)
    return side_by_side.reshape(height, channels, width).swapaxes(1, 2)


def test_crop_without_resize_is_the_part_itself() -> None:
    picture = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    (view,) = written(picture, [View(Box(1, 2, 4, 4))], size=4)
    assert (view == np.moveaxis(picture[1:5, 2:6], -1, 0)).all()


@given(seed=st.integers(0, 2**32 - 1), channels=st.sampled_from([2, 3]), size=st.integers(1, 40))
def test_views_equal_the_plain_way(seed: int, channels: int, size: int) -> None:
    """Any boxes, mirrored or not, doubled too, of pictures that lie in memory in either way."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (25, 37, channels), dtype=np.uint8)
    boxes = [Box(0, 0, 25, 37), Box(0, 0, size % 25 + 1, size % 25 + 1)]
    for _ in range(2):
        top, left = int(rng.integers(25)), int(rng.integers(37))
        height, width = int(rng.integers(25 - top)) + 1, int(rng.integers(37 - left)) + 1
        boxes.append(Box(top, left, height, width))
    views = [View(boxes[i], bool(rng.integers(2))) for i in rng.integers(0, len(boxes), 8)]
    expected = [plain_view(picture, view, size=size) for view in views]
    picture.flags.writeable = False
    assert (written(picture, views, size=size) == expected).all()
    assert (written(apart(picture), views, size=size) == expected).all()


def moving_square(dx: int, dy: int) -> np.ndarray:
    frames = np.zeros((2, 64, 64), dtype=np.uint8)
    texture = np.random.default_rng(1).integers(60, 255, (24, 24), dtype=np.uint8)
    texture = cv2.GaussianBlur(texture, (5, 5), 1)
    for t in (0, 1):
        frames[t, 20 + t * dy : 44 + t * dy, 20 + t * dx : 44 + t * dx] = texture
    return frames


def flow_of(frames: np.ndarray) -> np.ndarray:
    return cv2.calcOpticalFlowFarneback(frames[0], frames[1], None, 0.5, 3, 15, 3, 5, 1.2, 0)


def test_mirrored_flow_is_the_flow_of_the_mirrored_video() -> None:
    """A square moves right and down; seen in a mirror it moves left and down."""
    frames = moving_square(dx=3, dy=2)
    stored = np.rint(128 + flow_of(frames) * 127 / 20).astype(np.uint8)
    expected = np.rint(128 + flow_of(frames[:, :, ::-1].copy()) * 127 / 20).astype(np.uint8)
    (found,) = written(stored, [View(Box(0, 0, 64, 64), mirrored=True)], size=64)
    inside = (slice(26, 40), slice(22, 36))  # the square in the mirrored frame
    for channel, median in enumerate([round(128 - 3 * 127 / 20), round(128 + 2 * 127 / 20)]):
        difference = found[channel][inside].astype(int) - expected[..., channel][inside]
        assert abs(difference).max() <= 2
        assert np.median(found[channel][inside]) == median


def test_mirrored_flow_turns_every_value_round() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    flow = np.stack([values, values])
    mirror_flow(flow, flow)
    u, v = flow[:, :, ::-1].reshape(2, 256)
    assert v.tolist() == list(range(256))
    assert u[1:].tolist() == [256 - q for q in range(1, 256)]
    assert (u[0], u[128]) == (255, 128)


@pytest.mark.parametrize("in_place", [True, False])
def test_mirror_rgb_mirrors_only(in_place: bool) -> None:
    source = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    out = source if in_place else np.zeros_like(source)
    mirror_rgb(source, out)
    assert out[:, 0].tolist() == [[1, 0], [5, 4], [9, 8]]


def test_a_box_is_written_to_its_place_alone() -> None:
    out = np.zeros((3, 2, 8, 8), dtype=np.uint8)
    picture = np.full((20, 20, 2), 9, dtype=np.uint8)
    write_box(picture, Box(2, 2, 16, 16), out[1])
    assert (out[1] == 9).all()
    assert not out[[0, 2]].any()


def test_resizing_flow_stretches_its_vectors():
    """Twice as wide, half as high: u doubles, v halves, zero stays; RGB keeps its values."""
    picture = np.full((8, 6, 2), 128, dtype=np.uint8)
    picture[...] = 128 + 30, 128 - 20
    resized = resize_picture(picture, (4, 12), vectors=True)
    assert resized.shape == (4, 12, 2)
    assert (resized == (188, 118)).all()
    assert (resize_picture(picture, (4, 12), vectors=False) == (158, 108)).all()
    fast = np.full((8, 6, 2), 250, dtype=np.uint8)
    assert (resize_picture(fast, (8, 12), vectors=True) == (255, 250)).all()  # clipped, no wrap


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("offset", [0, 16, 7])
def test_an_unscaled_crop_is_copied_to_any_address(channels: int, offset: int) -> None:
    picture = np.arange(9 * 11 * channels).reshape(9, 11, channels).astype(np.uint8)
    memory = np.zeros(offset + channels * 36, np.uint8)
    out = memory[offset:].reshape(channels, 6, 6)
    write_box(picture, Box(2, 3, 6, 6), out)
    for channel in range(channels):
        assert np.array_equal(out[channel], picture[2:8, 3:9, channel])


def test_whole_and_centre() -> None:
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
    box = corners(height, width, scales=MODALITIES[stream].scales, size=224, rng=rng)
    assert 0 <= box.top <= box.top + box.height <= height
    assert 0 <= box.left <= box.left + box.width <= width
    assert min(box.height, box.width) >= 1


def test_boxes_of_a_ucf101_frame_are_corners_and_centre_of_neighbouring_scales() -> None:
    rng = np.random.default_rng(0)
    boxes = {
        corners(240, 320, scales=(1.0, 0.875, 0.75, 0.66), size=224, rng=rng) for _ in range(3000)
    }
    sides = {(box.height, box.width) for box in boxes}
    assert sides == {
        (240, 240), (240, 210), (210, 240), (210, 210), (210, 180),
        (180, 210), (180, 180), (180, 158), (158, 180), (158, 158),
    }  # fmt: skip
    tops = {box.top for box in boxes if (box.height, box.width) == (180, 180)}
    lefts = {box.left for box in boxes if (box.height, box.width) == (180, 180)}
    assert (tops, lefts) == ({0, 30, 60}, {0, 70, 140})


@pytest.mark.parametrize("channels", [2, 3])
def test_cuts_of_whole_pictures_are_their_views(channels: int) -> None:
    """Corners and centre, each mirrored, of values from 0 to 255: byte for byte."""
    pictures = np.random.default_rng(0).integers(0, 256, (6, 10, 13, channels)).astype(np.uint8)
    boxes = corner_boxes(10, 13, size=(8, 8))
    views = [View(box, mirrored) for mirrored in (False, True) for box in boxes]
    expected = np.stack([written(picture, views, size=8) for picture in pictures])
    whole = torch.from_numpy(np.moveaxis(pictures, -1, 1).copy()).unflatten(0, (3, 2))
    u_channels = MODALITIES["motion" if channels == 2 else "spatial"].u_channels
    cuts = cut_views(whole, views, u_channels=u_channels)
    assert cuts.shape == (3, 10, 2, channels, 8, 8)
    assert np.array_equal(cuts.transpose(1, 2).flatten(0, 1), expected)
