from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import check_grad

from fusion.combining.fuse import Fusion, score_videos
from fusion.combining.inputs import HeldOut
from fusion.combining.probabilities import log_softmax
from fusion.evaluation.metrics import top_k_correct
from fusion.fitting import fitted_fusion
from fusion.fitting.fitted_fusion import (
    LEARNERS,
    Learner,
    class_shares,
    class_weights,
    fuse_by_learning,
    fuse_in_folds,
    learn,
    stacking,
)
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable, check_table
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]

CLASSES = 4


def drawn(videos: int, seed: int = 0, *, signal: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Two streams: the first knows classes 0 and 1 only, the second 2 and 3 only."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=videos)
    logits = rng.normal(size=(videos, 2, CLASSES))
    true = signal * np.eye(CLASSES)[labels]
    logits[:, 0, :2] += true[:, :2]
    logits[:, 1, 2:] += true[:, 2:]
    return logits, labels


def right(fused: np.ndarray, labels: np.ndarray) -> float:
    return float((fused.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_what_is_learnt_beats_the_plain_sum(learner) -> None:  # noqa: ANN001
    logits, labels = drawn(3000)
    fresh, fresh_labels = drawn(3000, seed=1)
    predict = learn(logits, labels, learner)
    assert right(predict(fresh), fresh_labels) > right(fresh.sum(axis=1), fresh_labels) + 0.05


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_the_loudness_of_a_stream_is_irrelevant(learner) -> None:  # noqa: ANN001
    logits, labels = drawn(300)
    loud = logits * [[[30.0], [0.2]]]
    quiet = learn(logits, labels, learner)(logits)
    np.testing.assert_allclose(learn(loud, labels, learner)(loud), quiet, atol=2e-3)


def test_shares_go_to_the_stream_that_knows_the_class() -> None:
    shares = class_shares(*drawn(3000))
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    assert (shares[0, :2] > 0.6).all()
    assert (shares[1, 2:] > 0.6).all()
    few = class_shares(*drawn(20), strength=1e6)
    np.testing.assert_allclose(few, 0.5, atol=1e-3)


def test_a_strong_penalty_leaves_the_plain_sum() -> None:
    logits, labels = drawn(100)
    fused = stacking(logits, labels, strength=1e9)(logits)
    np.testing.assert_allclose(log_softmax(fused), log_softmax(logits.sum(axis=1)), atol=1e-4)


@pytest.mark.parametrize("fit", [class_shares, stacking])
def test_the_gradients_are_those_of_the_losses(fit, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN001
    def check(loss, size: int, progress) -> np.ndarray:  # noqa: ANN001
        at = np.random.default_rng(0).normal(size=size) / 3
        error = check_grad(lambda x: loss(x)[0], lambda x: loss(x)[1], at)
        assert error < 1e-3
        return np.zeros(size)

    monkeypatch.setattr(fitted_fusion, "_minimise", check)
    fit(*drawn(30))


def test_no_video_learns_from_its_own_fold() -> None:
    logits, labels = drawn(120)
    folds = np.arange(120) % 3
    labels[:10] = -1
    fused = fuse_in_folds(logits, labels, folds, stacking)
    spoilt = np.where(folds == 1, (labels + 1) % CLASSES, labels)
    again = fuse_in_folds(logits, spoilt, folds, stacking)
    np.testing.assert_array_equal(again[folds == 1], fused[folds == 1])
    assert not np.allclose(again[folds == 0], fused[folds == 0])


def two_streams(
    make_table: Make, prefix: str, seed: int, order: list[int]
) -> dict[str, ScoreTable]:
    """Two streams of 400 videos, classes in `order`; each stream knows two of four classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=400)
    names = [f"{prefix}{row}" for row in range(400)]
    tables = {}
    for stream, knows in (("a", [1, 1, 0, 0]), ("b", [0, 0, 1, 1])):
        scores = rng.normal(size=(400, 4)) + 2 * np.eye(4)[labels] * knows
        tables[stream] = make_table(
            scores[:, order],
            names=names,
            labels=[order.index(label) for label in labels],
            class_names=[f"c{label}" for label in order],
        )
    return tables


def learned(
    tables: dict[str, ScoreTable], learner: Learner, held_out: HeldOut, *, name: str
) -> Fusion:
    joined = join(tables)
    return fuse_by_learning(score_videos(joined), joined, learner, held_out, name=name)


@pytest.mark.parametrize("name", LEARNERS)
def test_in_folds_and_on_validation_videos_in_another_class_order(
    make_table: Make, name: str
) -> None:
    tables = two_streams(make_table, "t", 0, [0, 1, 2, 3])
    plain = sum(table.scores[:, 0, 0] for table in tables.values())
    count = top_k_correct(np.asarray(plain), tables["a"].labels, 1)
    val = two_streams(make_table, "v", 1, [2, 0, 3, 1])
    for where, given in (("crossfit", np.arange(400) % 4), ("val", val)):
        fusion = learned(tables, LEARNERS[name], given, name=name)
        check_table(fusion.table, where="fused")
        assert fusion.table.score_type == "probs"
        assert top_k_correct(fusion.table.scores[:, 0, 0], tables["a"].labels, 1) > count
        assert fusion.table.metadata["streams"] == {"strategy": name, "learned_on": where}


def test_what_cannot_be_learnt_from(make_table: Make) -> None:
    tables = two_streams(make_table, "t", 0, [0, 1, 2, 3])
    val = two_streams(make_table, "v", 1, [0, 1, 2, 3])
    with pytest.raises(InputError, match="needs two inputs"):
        learned({"a": tables["a"]}, class_weights, val, name="x")
    with pytest.raises(InputError, match="no validation scores of b to learn from"):
        learned(tables, class_weights, {"a": val["a"]}, name="x")
    with pytest.raises(InputError, match="are among those that are fused"):
        learned(tables, class_weights, tables, name="x")
