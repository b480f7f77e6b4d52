"""Pyramid, warp and median, with the values written out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from flow_extract.methods.tvl1_numerics import (
    coarse_to_fine,
    filter_median,
    pyramid,
    warp,
    with_gradients,
)


@pytest.mark.parametrize(
    ("size", "scales", "step", "expected"),
    [
        ((240, 320), 5, 0.8, [(240, 320), (192, 256), (154, 205), (123, 164), (98, 131)]),
        ((240, 320), 3, 0.5, [(240, 320), (120, 160), (60, 80)]),
        ((40, 300), 9, 0.5, [(40, 300), (20, 150)]),
        ((31, 31), 5, 0.5, [(31, 31), (16, 16)]),  # 15.5 is rounded to even
        ((19, 400), 5, 0.8, [(19, 400)]),
        ((1, 1), 5, 0.8, [(1, 1)]),
    ],
)
def test_sizes_of_the_levels(size, scales, step, expected):
    levels = pyramid(np.zeros(size, np.uint8), scales=scales, step=step)
    assert [level.shape for level in levels] == expected


def test_each_level_begins_with_the_enlarged_flow_of_the_coarser_one():
    seen = []

    def solve(first, second, u):
        seen.append((first.shape, float(u.mean())))
        return u + 1

    frame = np.zeros((64, 64), np.uint8)
    flow = coarse_to_fine(frame, frame, solve, scales=3, scale_step=0.5)
    assert seen == [((16, 16), 0.0), ((32, 32), 2.0), ((64, 64), 6.0)]
    assert flow.shape == (64, 64, 2)
    assert (flow == 7).all()


def test_gradients_are_central_differences_with_the_border_repeated():
    picture = np.float32([[0, 2, 8], [10, 20, 60]])
    _, along_x, along_y = cv2.split(with_gradients(picture))
    assert along_x.tolist() == [[1, 4, 3], [5, 25, 20]]
    assert along_y.tolist() == [[5, 9, 26], [5, 9, 26]]


def test_warp_looks_up_at_x_plus_u_and_finds_0_outside():
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    u = np.zeros((2, 3, 4), np.float32)
    u[0], u[1] = 1, -1
    warped = warp(cv2.merge([picture] * 3), u, interpolation=cv2.INTER_LINEAR)
    assert warped[..., 0].tolist() == [[0, 0, 0, 0], [1, 2, 3, 0], [5, 6, 7, 0]]


def test_median_works_in_place_on_views_of_padded_rows():
    planes = np.zeros((2, 5, 40), np.float32)
    view = planes[..., 16:24]
    view[0, 2, 3] = view[1] = 9
    filter_median(view, 3)
    assert (view[0] == 0).all()
    assert (view[1] == 9).all()
    assert planes.sum() == 9 * 5 * 8
    view[0, 2, 3] = 9
    filter_median(view, 1)
    assert view[0, 2, 3] == 9
