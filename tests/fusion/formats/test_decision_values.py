from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from fusion.formats.decision_values import read_decision_values
from twostream.errors import InputError

SCORES = np.array([[1.5, -2.5, 0.5], [0.1, 0.2, 0.3]])
NAMES = np.array([["v_a"], ["v_b"]], dtype=object)


def save(folder: Path, **variables: object) -> Path:
    scipy.io.savemat(folder / "a.mat", variables)
    return folder / "a.mat"


def test_names_and_labels_are_known_by_their_shapes(tmp_path: Path) -> None:
    path = save(tmp_path, whatever=SCORES, vn=NAMES, gt=np.array([[3], [1]]), more=np.zeros((1, 9)))
    foreign = read_decision_values(path)
    np.testing.assert_array_equal(foreign.scores[:, 0, 0], SCORES.astype(np.float32))
    assert foreign.names == ("v_a", "v_b")
    assert foreign.labels is not None
    assert foreign.labels.tolist() == [2, 0]


def test_scores_alone(tmp_path: Path) -> None:
    foreign = read_decision_values(save(tmp_path, s=SCORES))
    assert foreign.names is None
    assert foreign.labels is None


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"t": "text", "x": np.zeros((1, 5))}, r"no matrix .*; it holds t \(4 texts\), x \(1, 5\)"),
        ({"a": SCORES, "b": SCORES}, r"a and b could each be the matrix \(videos, classes\)"),
        ({"a": SCORES, "n": NAMES, "m": NAMES}, "n and m could each be the list of names"),
        ({}, "it holds nothing that is understood"),
    ],
)
def test_other_contents(tmp_path: Path, variables: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=f"a.mat: .*{message}"):
        read_decision_values(save(tmp_path, **variables))
