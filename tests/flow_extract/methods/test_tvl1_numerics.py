"""The linear data term, the padding of its rows, and the cache of compiled loops."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_extract.methods.tvl1_numerics import (
    coarse_to_fine,
    filter_median,
    inside,
    linearise,
    padded,
    pyramid,
    warp,
    with_gradients,
)

ROOT = Path(__file__).parents[3]
COMPILED_LOOP = """
import numpy as np
from flow_extract.methods.tvl1_numerics import linearise, padded
frame, warped = np.zeros((3, 4), np.float32), np.zeros((3, 4, 3), np.float32)
print(linearise(frame, warped, padded(2, 3, 4))[0].shape)
"""


@given(st.integers(1, 70), st.integers(1, 5))
def test_rows_are_padded_with_zeros_on_both_sides(width, height):
    planes = padded(2, height, width)
    inside(planes, width)[:] = 1
    assert planes.sum() == 2 * height * width
    assert not planes[..., :16].any()
    assert not planes[..., 16 + width].any()
    assert planes.shape[-1] % 16 == 0


def test_data_term():
    first = np.float32([[10, 20, 30]])
    warped = np.float32([[[11, 3, 4], [22, 0, 0], [33, -1, 2]]])
    u = padded(2, 1, 3)
    inside(u, 3)[:] = np.float32([[[1, 2, 3]], [[0.5, 0, -1]]])
    gradient, constant, inverse = linearise(first, warped, u)
    assert gradient.tolist() == [[[3, 0, -1]], [[4, 0, 2]]]
    assert constant.tolist() == [[11 - 3 - 2 - 10, 2, 33 + 3 + 2 - 30]]
    assert inverse.tolist() == [[pytest.approx(1 / 25), 0, pytest.approx(1 / 5)]]


def run_loop(root: Path, **environment: str) -> None:
    ours = ("NUMBA_CACHE_DIR", "PYTHONPATH", "PYTHONSAFEPATH")
    kept = {key: value for key, value in os.environ.items() if key not in ours}
    command = [sys.executable, "-W", "error", "-c", COMPILED_LOOP]
    done = subprocess.run(
        command, cwd=root, env=kept | environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "(2, 3, 4)\n"
    assert not done.stderr


def test_loops_of_a_package_that_cannot_be_written_are_kept_in_the_user_cache_or_not(tmp_path):
    for package in ("flow_extract", "twostream_base"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    # A file where the cache's folder should be: even root cannot write into it.
    (tmp_path / "flow_extract" / "methods" / "__pycache__").write_text("")
    home = tmp_path / "home"
    kept = []
    for _ in range(2):  # the second process compiles nothing
        run_loop(tmp_path, HOME=str(home), XDG_CACHE_HOME=str(home / "cache"))
        kept.append({path: path.stat().st_mtime_ns for path in home.rglob("*.nb?")})
    assert kept[0] == kept[1] != {}
    nowhere = str(tmp_path / "flow_extract" / "methods" / "__pycache__")
    run_loop(tmp_path, HOME=nowhere, XDG_CACHE_HOME=nowhere)


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
