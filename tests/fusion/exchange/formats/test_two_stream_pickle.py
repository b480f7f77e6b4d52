from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from fusion.exchange.formats.two_stream_pickle import (
    read_counted_pickle,
    read_two_stream_pickle,
)
from twostream_base.errors import InputError


def test_names_and_scores_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "preds.pickle"
    scores = {"b_g01_c01": np.array([1, 2], "f4"), "a_g01_c01": np.array([3, 4], "f4")}
    path.write_bytes(pickle.dumps(scores, 2))
    foreign = read_two_stream_pickle(path)
    assert foreign.names == ("b_g01_c01", "a_g01_c01")
    assert foreign.scores.dtype == np.float32
    assert foreign.scores.tolist() == [[[[1, 2]]], [[[3, 4]]]]
    assert foreign.labels is None


@pytest.mark.parametrize("content", [[1, 2], {1: np.zeros(3)}])
def test_other_contents(tmp_path: Path, content: object) -> None:
    path = tmp_path / "preds.pickle"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"preds.pickle: holds (list|dict); a two-stream pickle"):
        read_two_stream_pickle(path)


def test_a_real_file(shared_data: Path) -> None:
    path = shared_data / "scores-resnet101-ucf101" / "spatial_video_preds.pickle"
    foreign = read_two_stream_pickle(path)
    assert foreign.scores.shape == (3783, 1, 1, 101)
    assert foreign.names is not None
    assert foreign.names[:2] == ("ApplyEyeMakeup_g01_c01", "ApplyEyeMakeup_g01_c02")


def test_pickled_torch_tensors_are_refused_by_name(shared_data: Path) -> None:
    path = shared_data / "scores-mmaction2-fuse-demo" / "joint.pkl"
    with pytest.raises(InputError, match=r"joint.pkl: the pickle asks for torch\."):
        read_two_stream_pickle(path)


def test_sums_and_their_count(tmp_path: Path) -> None:
    path = tmp_path / "spa.preds"
    path.write_bytes(pickle.dumps(({"b": np.array([5.0, 14.0]), "a": np.array([19.0, 0.0])}, 19)))
    foreign = read_counted_pickle(path)
    assert foreign.names == ("b", "a")
    np.testing.assert_allclose(foreign.scores[:, 0, 0], [[5 / 19, 14 / 19], [1, 0]], rtol=1e-6)


@pytest.mark.parametrize("content", [{"a": [1.0]}, ({"a": [1.0]}, 0), ({"a": [1.0]}, "19"), [1]])
def test_no_pair_of_sums_and_count(tmp_path: Path, content: object) -> None:
    path = tmp_path / "spa.preds"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"spa.preds: holds no pair \(scores, count\)"):
        read_counted_pickle(path)
