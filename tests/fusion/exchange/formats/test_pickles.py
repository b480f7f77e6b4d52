from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion.exchange.formats.pickles import (
    read_counted_pickle,
    read_mmaction2_pickle,
    read_slowfast_pickle,
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
    np.testing.assert_array_equal(foreign.scores[:, 0, 0], [[5 / 19, 14 / 19], [1, 0]])


def test_means_do_not_tie_classes_whose_sums_differ(tmp_path: Path) -> None:
    path = tmp_path / "spa.preds"
    sums = np.array([15, np.nextafter(np.float32(15), np.float32(16))], np.float32)
    assert (sums / 19)[0] == (sums / 19)[1]
    path.write_bytes(pickle.dumps(({"a": sums}, 19)))
    assert read_counted_pickle(path).scores[0, 0, 0].argmax() == 1


@pytest.mark.parametrize("content", [{"a": [1.0]}, ({"a": [1.0]}, 0), ({"a": [1.0]}, "19"), [1]])
def test_no_pair_of_sums_and_count(tmp_path: Path, content: object) -> None:
    path = tmp_path / "spa.preds"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"spa.preds: holds no pair \(scores, count\)"):
        read_counted_pickle(path)


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
def test_other_contents_for_mmaction2(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_mmaction2_pickle(save(tmp_path, content))


@pytest.mark.parametrize(("name", "correct"), [("joint", 55), ("bone", 56)])
def test_real_files_of_mmaction2(shared_data: Path, name: str, correct: int) -> None:
    foreign = read_mmaction2_pickle(shared_data / "scores-mmaction2-fuse-demo" / f"{name}.pkl")
    assert foreign.scores.shape == (60, 1, 1, 120)
    assert (foreign.scores[:, 0, 0].argmax(axis=1) == foreign.labels).sum() == correct


PROBS = np.array([[0.25, 0.75], [1, 0]], np.float32)


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
def test_other_contents_for_slowfast(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(InputError, match=f"a.pkl: .*{message}"):
        read_slowfast_pickle(save(tmp_path, content))
