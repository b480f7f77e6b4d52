import numpy as np
import pytest

from twostream.transforms.rand_augment import COLOURS, MOVES, apply_operations, draw_operations


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
