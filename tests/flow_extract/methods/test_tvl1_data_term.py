"""The linear data term, the padding of its rows, and the cache of compiled loops."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_extract.methods.tvl1_numerics import inside, linearise, padded

ROOT = Path(__file__).parents[3]
FLOW_OF_TWO_FRAMES = """
import numpy as np
from flow_extract.methods.tvl1 import make_tvl1
print(make_tvl1(scales=1, warps=1)(np.zeros((2, 20, 20, 3), np.uint8)).shape)
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


def run_flow(root: Path, **environment: str) -> None:
    kept = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    command = [sys.executable, "-W", "error", "-c", FLOW_OF_TWO_FRAMES]
    done = subprocess.run(
        command, cwd=root, env=kept | environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "(1, 20, 20, 2)\n"
    assert not done.stderr


def test_compiled_loops_are_kept_for_the_next_process(tmp_path):
    run_flow(ROOT, NUMBA_CACHE_DIR=str(tmp_path))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
    assert files
    run_flow(ROOT, NUMBA_CACHE_DIR=str(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")} == files


def test_a_package_that_cannot_be_written_uses_the_user_cache_or_none(tmp_path):
    for package in ("flow_extract", "twostream"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    # A file where the cache's folder should be: even root cannot write into it.
    (tmp_path / "flow_extract" / "methods" / "__pycache__").write_text("")
    home = tmp_path / "home"
    run_flow(tmp_path, HOME=str(home), XDG_CACHE_HOME=str(home / "cache"))
    assert list((home / "cache").rglob("*.nbc"))
    nowhere = str(tmp_path / "flow_extract" / "methods" / "__pycache__")
    run_flow(tmp_path, HOME=nowhere, XDG_CACHE_HOME=nowhere)
