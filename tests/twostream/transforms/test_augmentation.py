from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from twostream.transforms.augmentation import (
    COLOURS,
    CROPS,
    MOVES,
    Augmentation,
    ColourChange,
    apply_operations,
    augment_,
    change_colour,
    draw_colour_change,
    draw_operations,
    draw_view,
    jittered_square,
    square_of_jitter,
)
from twostream.transforms.clips import Box, View
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


# Sides of 24, 21, 18 and 15 pixels of 24 x 32; the input's 20 is within 3 of 21 and 18.
PAIRS = [(24, 24), (24, 20), (20, 24), (20, 20), (20, 15), (15, 20), (15, 15)]
PLACES = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
MORE_PLACES = [(2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3)]


@pytest.mark.parametrize(
    ("name", "places"), [("corners", PLACES), ("corners13", PLACES + MORE_PLACES)]
)
def test_corner_crops_are_those_of_tsn(name: str, places: list[tuple[int, int]]) -> None:
    assert boxes(name, size=20) == {
        Box(y * ((24 - height) // 4), x * ((32 - width) // 4), height, width)
        for height, width in PAIRS
        for y, x in places
    }


def test_all_pairs_of_neighbouring_sides_are_equally_likely() -> None:
    draws = Counter(
        CROPS["corners"](
            256, 340, scales=(1, 0.875, 0.75, 0.66), size=224, rng=np.random.default_rng(seed)
        )[2:]
        for seed in range(5000)
    )
    sides = (256, 224, 192, 168)
    assert draws.keys() == {
        (a, b) for i, a in enumerate(sides) for j, b in enumerate(sides) if abs(i - j) < 2
    }
    assert all(420 < count < 580 for count in draws.values()), "a tenth each, within 4 sigma"


# Short side of the frame and of the jittered one: what a square of 224 shows of the frame.
@pytest.mark.parametrize(
    ("short", "expected"),
    [
        (256, {256: 224, 288: 199, 320: 179}),
        (240, {256: 210, 288: 187, 320: 168}),
        (480, {224: 480, 256: 420, 320: 336}),
        (100, {224: 100, 256: 88, 320: 70}),
        (1, {224: 1, 320: 1}),
    ],
)
def test_squares_of_jittered_frames(short: int, expected: dict[int, int]) -> None:
    assert {
        side: square_of_jitter(short, short_side=side, size=224) for side in expected
    } == expected


def test_jitter_draws_every_short_side_and_place() -> None:
    drawn = {
        jittered_square(24, 32, jitter=(22, 24), size=22, rng=np.random.default_rng(seed))
        for seed in range(3000)
    }
    assert drawn == {
        Box(top, left, side, side)
        for side in (24, 23, 22)
        for top in range(24 - side + 1)
        for left in range(32 - side + 1)
    }


JITTERED = [
    View(Box(43, 75, 173, 173)),
    View(Box(27, 100, 188, 188)),
    View(Box(17, 16, 173, 173)),
    View(Box(5, 26, 175, 175)),
]


def test_jitter_takes_the_place_of_the_crop() -> None:
    augmentation = Augmentation(flip=False, jitter=(256, 320))
    views = [
        draw_view(240, 320, MODALITIES["spatial"], augmentation, size=224,
                  rng=np.random.default_rng(seed))
        for seed in range(4)
    ]  # fmt: skip
    assert views == JITTERED


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


def rgb(frames=2):
    return np.random.default_rng(0).integers(20, 200, (frames, 40, 60, 3), dtype=np.uint8)


def uniform_flow(u, v, *, frames=1):
    """A field that moves everywhere by (u, v) steps of the store."""
    clip = np.empty((frames, 41, 61, 2), dtype=np.uint8)
    clip[...] = 128 + np.array([u, v])
    return clip


@pytest.mark.parametrize("name", [*MOVES, *COLOURS])
def test_every_operation_treats_all_frames_alike(name):
    frame = rgb(1)
    limit = (MOVES | COLOURS)[name][1]
    clip = apply_operations(np.concatenate([frame, frame]), [(name, 0.5 * limit)], flow=False)
    assert clip.shape == (2, 40, 60, 3)
    assert clip.dtype == np.uint8
    assert (clip[0] == clip[1]).all()
    assert (clip[0] != frame[0]).any()


@pytest.mark.parametrize("name", [*MOVES, "brightness", "colour", "contrast", "sharpness"])
def test_no_strength_changes_nothing(name):
    assert (apply_operations(rgb(), [(name, 0.0)], flow=False) == rgb()).all()


@pytest.mark.parametrize("name", list(COLOURS))
def test_flow_refuses_colours(name):
    with pytest.raises(ValueError, match=f"{name} changes colours; flow has none"):
        apply_operations(uniform_flow(10, 0), [(name, 0.5)], flow=True)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (("rotate", 90.0), (0, 40)),  # clockwise on the screen: right becomes down
        (("rotate", -90.0), (0, -40)),
        (("translate_x", 0.1), (40, 0)),
        (("translate_y", -0.1), (40, 0)),
        (("shear_y", 0.25), (40, 10)),
        (("shear_x", 0.25), (40, 0)),
    ],
)
def test_vectors_move_with_their_frame(operation, expected):
    moved = apply_operations(uniform_flow(40, 0), [operation], flow=True)
    assert (moved[0, 20, 30] - np.array([128, 128])).astype(np.int8).tolist() == list(expected)


def test_rotating_a_moving_dot_and_its_flow():
    """A dot right of the middle that moves up: turned by 90 degrees it is below, moving right."""
    frame = np.zeros((1, 41, 41, 3), dtype=np.uint8)
    frame[0, 20, 30] = 255
    flow = np.full((1, 41, 41, 2), 128, dtype=np.uint8)
    flow[0, 20, 30] = 128, 128 - 30
    turned = apply_operations(frame, [("rotate", 90.0)], flow=False)
    vectors = apply_operations(flow, [("rotate", 90.0)], flow=True)
    assert np.argwhere(turned[0, :, :, 0] > 128).tolist() == [[30, 20]]
    assert vectors[0, 30, 20].tolist() == [158, 128]


def test_what_comes_in_stands_still():
    moved = apply_operations(uniform_flow(40, 20), [("translate_x", 0.5)], flow=True)
    assert (moved[0, :, :20] == 128).all()
    assert (moved[0, :, -20:] == [168, 148]).all()


def test_drawing():
    rng = np.random.default_rng(0)
    drawn = [draw_operations(2, magnitude=0.3, flow=False, rng=rng) for _ in range(2000)]
    names = {name for pair in drawn for name, _ in pair}
    assert names == {"identity", *MOVES, *COLOURS}
    assert all(len(pair) == 2 for pair in drawn)
    angles = {amount for pair in drawn for name, amount in pair if name == "rotate"}
    assert angles == {-9.0, 9.0}
    only_moves = [draw_operations(1, magnitude=1, flow=True, rng=rng)[0][0] for _ in range(500)]
    assert set(only_moves) == {"identity", *MOVES}


def test_one_seed_one_draw():
    first, second = (
        draw_operations(2, magnitude=0.3, flow=False, rng=np.random.default_rng(7))
        for _ in range(2)
    )
    assert first == second
