from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion.exchange.formats.slowfast_pickle import read_slowfast_pickle
from twostream_base.errors import InputError

PROBS = np.array([[0.25, 0.75], [1, 0]], np.float32)


def save(folder: Path, content: object) -> Path:
    (folder / "a.pkl").write_bytes(pickle.dumps(content))
    return folder / "a.pkl"


@pytest.mark.parametrize("make", [torch.from_numpy, np.asarray])
def test_sums_over_30_views_become_means(tmp_path: Path, make: object) -> None:
    assert callable(make)
    content = [make(30 * PROBS), make(np.array([1, 0]))]
    foreign = read_slowfast_pickle(save(tmp_path, content))
    np.testing.assert_allclose(foreign.scores[:, 0, 0], PROBS)
    assert foreign.labels is not None
    assert foreign.labels.tolist() == [1, 0]
    assert foreign.names is None


@pytest.mark.parametrize("scores", [[[-1, 31], [15, 15]], [[0.9, 0.7], [1, 0.2]]])
def test_logits_and_maxima_stay_as_they_are(tmp_path: Path, scores: list[list[float]]) -> None:
    foreign = read_slowfast_pickle(save(tmp_path, [np.array(scores), np.array([0, 1])]))
    np.testing.assert_allclose(foreign.scores[:, 0, 0], scores)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, r"holds no pair \[scores, labels\]"),
        ([PROBS, np.zeros((2, 2))], r"scores \(2, 2\) and labels \(2, 2\); .*one label a video"),
        ([PROBS, np.zeros(3)], r"scores \(2, 2\) and labels \(3,\)"),
        ([PROBS, np.array([0.5, 1])], "labels must be whole numbers"),
        ([PROBS[0], np.zeros(2)], r"the first part is float32 \(2,\)"),
    ],
)
def test_other_contents(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(InputError, match=f"a.pkl: .*{message}"):
        read_slowfast_pickle(save(tmp_path, content))
