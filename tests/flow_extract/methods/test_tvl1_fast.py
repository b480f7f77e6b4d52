"""`tvl1-fast`: near `tvl1` on small motion, ahead of it on large motion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from flow_extract.methods.tvl1 import make_tvl1
from flow_extract.methods.tvl1_fast import make_tvl1_fast
from flow_extract.synthetic import (
    endpoint_error,
    moving_clip,
    read_flo,
    smooth_texture,
    translation,
)

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
