"""The contract of every flow method, and its error on real pictures."""

import os

import numpy as np
import pytest

from flow_extract.methods import FLOW_METHODS
from flow_extract.synthetic import moving_clip, rotation, smooth_texture, translation

# Endpoint errors of shared/data/flow-middlebury/README.md, with room for other OpenCV versions.
MIDDLEBURY = {
    ("dis", "Dimetrodon"): 0.20,
    ("dis", "Grove2"): 0.37,
    ("dis", "RubberWhale"): 0.27,
    ("dis", "Urban2"): 0.80,
    ("farneback", "Dimetrodon"): 1.0,
    ("farneback", "Grove2"): 0.65,
    ("farneback", "RubberWhale"): 0.41,
    ("farneback", "Urban2"): 1.55,
}


@pytest.fixture(params=FLOW_METHODS)
def method(request):
    weights = os.environ.get("TWOSTREAM_RAFT_WEIGHTS")
    if request.param == "raft" and not weights:
        pytest.skip("TWOSTREAM_RAFT_WEIGHTS names no file of raft_large weights")
    options = {"weights": weights} if request.param == "raft" else {}
    return FLOW_METHODS[request.param](**options)


def endpoint_error(flow: np.ndarray, truth: np.ndarray) -> float:
    return float(np.hypot(*np.moveaxis(flow - truth, -1, 0)).mean())


def textured_clip(size, steps, seed=3):
    return moving_clip(smooth_texture(size, rng=np.random.default_rng(seed)), steps)


def test_shape_and_type(method):
    frames, _ = textured_clip((50, 70), [translation(1, 0)] * 3)
    flow = method(frames)
    assert flow.shape == (3, 50, 70, 2)
    assert flow.dtype == np.float32


def test_still_picture_has_no_flow(method):
    frames, _ = textured_clip((64, 96), [translation(0, 0)])
    assert np.abs(method(frames)).mean() < 0.05


@pytest.mark.parametrize("step", [translation(1.5, -0.75), translation(-2.25, 3.5)])
def test_direction_and_size_of_a_translation(method, step):
    frames, truth = textured_clip((96, 128), [step, step])
    assert endpoint_error(method(frames), truth) < 0.5


def test_rotation(method):
    frames, truth = textured_clip((96, 128), [rotation(2, centre=(63.5, 47.5))])
    assert endpoint_error(method(frames), truth) < 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (16, 16), (31, 100), (100, 31), (8, 640)])
def test_small_and_narrow_frames(method, size):
    frames, _ = textured_clip(size, [translation(0.5, 0)])
    flow = method(frames)
    assert flow.shape == (1, *size, 2)
    assert np.isfinite(flow).all()


def test_same_result_after_a_clip_of_another_size(method):
    frames, _ = textured_clip((96, 128), [translation(1.5, -0.75)])
    small, _ = textured_clip((16, 16), [translation(1, 0)])
    first = method(frames)
    method(small)
    assert (method(frames) == first).all()


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 40, 40, 3), np.uint8),
        np.zeros((2, 40, 40, 3), np.float32),
        np.zeros((2, 40, 40), np.uint8),
        np.zeros((2, 40, 40, 1), np.uint8),
        np.zeros((2, 0, 40, 3), np.uint8),
    ],
)
def test_refuses_other_frames(method, frames):
    with pytest.raises(ValueError, match=r"flow needs uint8 \(T, H, W, 3\)"):
        method(frames)


def test_dis_refuses_an_unknown_preset():
    with pytest.raises(ValueError, match="allowed: ultrafast, fast, medium"):
        FLOW_METHODS["dis"](preset="slow")


@pytest.mark.parametrize(("name", "pair"), MIDDLEBURY)
def test_endpoint_error_on_middlebury(name, pair, shared_data):
    import cv2

    folder = shared_data / "flow-middlebury" / pair
    frames = np.stack([cv2.imread(str(folder / f"frame{i}.png"))[..., ::-1] for i in (10, 11)])
    truth = cv2.readOpticalFlow(str(folder / "flow10.flo"))
    known = (np.abs(truth) < 1e9).all(axis=-1)
    error = endpoint_error(FLOW_METHODS[name]()(frames)[0][known], truth[known])
    assert error < MIDDLEBURY[name, pair]
