from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion.exchange.formats.mmaction2_pickle import read_mmaction2_pickle
from twostream_base.errors import InputError

SCORES = np.array([[0.25, 0.75], [1, 0]], np.float32)
LABELS = [1, 0]


def save(folder: Path, content: object) -> Path:
    (folder / "a.pkl").write_bytes(pickle.dumps(content))
    return folder / "a.pkl"


@pytest.mark.parametrize(
    "items",
    [
        [
            {"pred_score": torch.from_numpy(row), "gt_label": torch.tensor([label]), "fps": 30}
            for row, label in zip(SCORES, LABELS, strict=True)
        ],
        [
            {"pred_scores": {"item": row}, "gt_labels": {"item": np.array(label)}}
            for row, label in zip(SCORES, LABELS, strict=True)
        ],
        list(SCORES),
    ],
    ids=["1.x", "1.0", "0.x"],
)
def test_the_forms_of_its_versions(tmp_path: Path, items: list[object]) -> None:
    foreign = read_mmaction2_pickle(save(tmp_path, items))
    assert foreign.names is None
    assert foreign.scores[:, 0, 0].tolist() == SCORES.tolist()
    if isinstance(items[0], dict):
        assert foreign.labels is not None
        assert foreign.labels.tolist() == LABELS
    else:
        assert foreign.labels is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "a.pkl: holds dict; mmaction2's result is a list"),
        ([{"gt_label": 1}], "an item has no pred_score, only gt_label"),
        ([{"pred_score": [0.5, 0.5]}], "an item has no gt_label, only pred_score"),
        ([{"pred_score": [0.5, 0.5], "gt_label": [0, 1]}], "items with several labels"),
        ([], "holds no videos"),
    ],
)
def test_other_contents(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_mmaction2_pickle(save(tmp_path, content))


@pytest.mark.parametrize(("name", "correct"), [("joint", 55), ("bone", 56)])
def test_real_files(shared_data: Path, name: str, correct: int) -> None:
    foreign = read_mmaction2_pickle(shared_data / "scores-mmaction2-fuse-demo" / f"{name}.pkl")
    assert foreign.scores.shape == (60, 1, 1, 120)
    assert (foreign.scores[:, 0, 0].argmax(axis=1) == foreign.labels).sum() == correct
