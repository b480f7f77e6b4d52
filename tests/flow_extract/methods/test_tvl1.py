"""`tvl1` against OpenCV's known errors, and both TV-L1 methods under stress."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from flow_extract.methods import FLOW_METHODS
from flow_extract.methods.tvl1 import make_tvl1, make_tvl1_fast
from flow_extract.synthetic import (
    endpoint_error,
    moving_clip,
    read_flo,
    smooth_texture,
    translation,
)
from twostream_base.errors import InputError

# Endpoint errors of DualTVL1 in opencv-contrib-python 5.0.0, grey frames, defaults.
CONTRIB_ERRORS = {
    "Dimetrodon": 0.1814,
    "Grove2": 0.1578,
    "Grove3": 0.7570,
    "RubberWhale": 0.1568,
    "Urban2": 3.5568,
}


def moving_texture(size=(96, 128), step=(2.25, -1.5), seed=5):
    texture = smooth_texture(size, rng=np.random.default_rng(seed))
    return moving_clip(texture, [translation(*step)])


@pytest.mark.parametrize("pair", CONTRIB_ERRORS)
def test_endpoint_error_is_that_of_opencv(pair, shared_data):
    folder = shared_data / "flow-middlebury" / pair
    frames = np.stack([cv2.imread(str(folder / f"frame{i}.png"))[..., ::-1] for i in (10, 11)])
    error = endpoint_error(make_tvl1()(frames)[0], read_flo(folder / "flow10.flo"))
    assert error == pytest.approx(CONTRIB_ERRORS[pair], rel=0.01)


def test_known_motion():
    frames, truth = moving_texture()
    assert endpoint_error(make_tvl1()(frames), truth) < 0.15


@pytest.mark.parametrize("name", ["tvl1", "tvl1-fast"])
@pytest.mark.parametrize("grey", [0, 255])
def test_plain_frames_have_no_flow(name, grey):
    assert not FLOW_METHODS[name]()(np.full((2, 40, 60, 3), grey, np.uint8)).any()


@pytest.mark.parametrize("name", ["tvl1", "tvl1-fast"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 70), (16, 16), (17, 21)])
def test_noise_on_tiny_frames_stays_finite(name, size):
    noise = np.random.default_rng(1).integers(0, 256, (3, *size, 3), np.uint8)
    flow = FLOW_METHODS[name]()(noise)
    assert flow.shape == (2, *size, 2)
    assert np.isfinite(flow).all()


@pytest.mark.parametrize("name", ["tvl1", "tvl1-fast"])
def test_threads_do_not_disturb_each_other(name):
    method = FLOW_METHODS[name]()
    clips = [moving_texture((60 + seed, 80), seed=seed)[0] for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(method, clips))
    for clip, flow in zip(clips, together, strict=True):
        assert (method(clip) == flow).all()


def test_a_cut_clip_gives_the_same_flow():
    texture = smooth_texture((40, 60), rng=np.random.default_rng(2))
    frames, _ = moving_clip(texture, [translation(1, 0.5)] * 3)
    method = make_tvl1(scales=2)
    assert (method(frames)[1:] == method(frames[1:])).all()


def test_without_a_median_and_without_a_stop():
    frames, truth = moving_texture((64, 64), step=(0.5, 0.5))
    flow = make_tvl1(median=1, epsilon=0, scales=1, warps=2, outer=1)(frames)
    assert endpoint_error(flow, truth) < 0.5


# Measured, with a tenth to spare.
MIDDLEBURY = {
    "Dimetrodon": 0.21,
    "Grove2": 0.35,
    "Grove3": 0.83,
    "RubberWhale": 0.21,
    "Urban2": 0.53,
}


@pytest.mark.parametrize("pair", MIDDLEBURY)
def test_endpoint_error_on_middlebury(pair, shared_data):
    folder = shared_data / "flow-middlebury" / pair
    frames = np.stack([cv2.imread(str(folder / f"frame{i}.png"))[..., ::-1] for i in (10, 11)])
    flow = make_tvl1_fast()(frames)[0]
    assert endpoint_error(flow, read_flo(folder / "flow10.flo")) < MIDDLEBURY[pair]


def test_follows_large_motion_that_the_exact_method_loses():
    texture = smooth_texture((192, 256), rng=np.random.default_rng(4), cutoff=0.05)
    frames, truth = moving_clip(texture, [translation(18, 6)])
    middle = np.s_[:, 40:-40, 40:-40]
    fast, exact = (make()(frames)[middle] for make in (make_tvl1_fast, make_tvl1))
    assert endpoint_error(fast, truth[middle]) < 0.5
    assert endpoint_error(exact, truth[middle]) > endpoint_error(fast, truth[middle])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0}, "tau is 0; it must be above 0"),
        ({"lambda_": -1.0}, "lambda_ is -1.0; it must be above 0"),
        ({"theta": float("nan")}, "theta is nan; it must be above 0"),
        ({"scales": 0}, "scales is 0; it must be above 0"),
        ({"warps": 0}, "warps is 0"),
        ({"inner": 0}, "inner is 0"),
        ({"outer": 0}, "outer is 0"),
        ({"scale_step": 1.0}, "scale_step is 1.0; allowed: above 0 and below 1"),
        ({"median": 4}, r"median is 4; allowed: 1, 3, 5 \(1: none\)"),
        ({"epsilon": -0.1}, "epsilon is -0.1; it must be 0 or more"),
    ],
)
def test_refuses_options_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        make_tvl1(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0}, "sigma is 0; it must be above 0"),
        ({"iterations": 0}, "iterations is 0; it must be above 0"),
        ({"scale_step": 0}, "scale_step is 0; allowed: above 0 and below 1"),
        ({"median": 7}, "median is 7; allowed: 1, 3, 5"),
    ],
)
def test_the_fast_method_refuses_them_too(options, message):
    with pytest.raises(InputError, match=message):
        make_tvl1_fast(**options)
