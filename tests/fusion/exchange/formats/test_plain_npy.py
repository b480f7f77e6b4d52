from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion.exchange.formats.npy_npz import read_npy_scores
from twostream_base.errors import InputError


@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 4), (5, 3, 2, 4)])
def test_arrays_of_numbers(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    np.save(tmp_path / "a.npy", array)
    foreign = read_npy_scores(tmp_path / "a.npy")
    np.testing.assert_array_equal(foreign.scores.reshape(shape), array.astype(np.float32))
    assert foreign.scores.ndim == 4
    assert foreign.names is None
    assert foreign.labels is None


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(4))
    with pytest.raises(InputError, match=r"a.npy: the array is float64 \(4,\)"):
        read_npy_scores(path)
    path.write_bytes(b"none")
    with pytest.raises(InputError, match="a.npy: not a .npy array that can be read"):
        read_npy_scores(path)
