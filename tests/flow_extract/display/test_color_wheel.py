import numpy as np
import pytest

from flow_extract.display.color_wheel import flow_to_rgb, hues, wheel_picture


def test_hues_at_the_corners_of_the_benchmark_s_wheel():
    """Corners after 15 steps red to yellow, 6 to green, 4 to cyan, 11 to blue, 13 to magenta."""
    assert len(hues()) == 15 + 6 + 4 + 11 + 13 + 6
    assert hues()[[0, 15, 21, 25, 36, 49]].tolist() == [
        [255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255],
    ]  # fmt: skip
    assert hues()[[1, 16, 22, 26, 37, 50]].tolist() == [
        [255, 17, 0], [213, 255, 0], [0, 255, 63], [0, 232, 255], [19, 0, 255], [255, 0, 213],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("flow", "color"),
    [
        ((0, 0), (255, 255, 255)),
        ((1, 0), (255, 0, 0)),
        ((0, 1), (255, 229, 0)),  # down: half way from 13 to 14 of the 15 steps to yellow
        ((-1, 0), (0, 209, 255)),  # 27 of 54: two of the eleven steps from cyan to blue
        ((0, -1), (88, 0, 255)),  # 40.5: four and a half of thirteen from blue to magenta
        ((0.5, 0), (255, 127, 127)),
        ((2, 0), (191, 0, 0)),  # too fast
    ],
)
def test_known_colors(flow, color):
    assert flow_to_rgb(np.array(flow, np.float32), max_speed=1.0).tolist() == list(color)


def test_scale_is_in_pixels():
    flow = np.random.default_rng(0).normal(size=(6, 7, 2)) * 3
    assert (flow_to_rgb(flow, max_speed=4.0) == flow_to_rgb(flow / 4, max_speed=1.0)).all()


def test_as_torchvision_draws_it():
    torch = pytest.importorskip("torch")
    from twostream_base.vision import torchvision

    flow = np.random.default_rng(0).normal(size=(50, 60, 2)).astype(np.float32) * 3
    theirs = torchvision.utils.flow_to_image(torch.from_numpy(flow).permute(2, 0, 1))
    ours = flow_to_rgb(flow, max_speed=float(np.hypot(flow[..., 0], flow[..., 1]).max()))
    assert np.abs(ours.astype(int) - theirs.permute(1, 2, 0).numpy()).max() <= 1


def test_wheel_shows_directions_where_they_point():
    wheel = wheel_picture(101)
    assert wheel.shape == (101, 101, 3)
    for place, flow in (((50, 100), (1, 0)), ((100, 50), (0, 1)), ((50, 0), (-1, 0))):
        assert wheel[place].tolist() == flow_to_rgb(np.array(flow), max_speed=1.0).tolist()
    assert wheel[50, 50].tolist() == wheel[0, 0].tolist() == [255, 255, 255]
