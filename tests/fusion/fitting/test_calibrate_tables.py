from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.combining.fuse import fuse
from fusion.combining.probabilities import softmax
from fusion.fitting.calibrate_tables import (
    calibrate_in_folds,
    calibrate_on,
    mean_logits,
)
from fusion.fitting.hold_out import grouped_folds, video_groups
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]
RNG = np.random.default_rng(0)
LABELS = RNG.integers(4, size=60)
VIEWS = RNG.normal(size=(60, 3, 2, 4)) + 2 * np.eye(4)[LABELS][:, None, None]
FOLDS = np.arange(60) % 3


def test_the_scale_of_a_stream_no_longer_matters(make_table: Make) -> None:
    other = VIEWS[::-1].copy()
    quiet = {"a": make_table(VIEWS, labels=LABELS), "b": make_table(other, labels=LABELS)}
    loud = quiet | {"b": make_table(40 * other, labels=LABELS)}
    assert not np.allclose(fuse(quiet).table.scores, fuse(loud).table.scores / 20)
    fused = [fuse(calibrate_in_folds(tables, FOLDS).tables).table for tables in (quiet, loud)]
    np.testing.assert_allclose(fused[0].scores, fused[1].scores, rtol=1e-4, atol=1e-5)


def test_calibrated_means_are_the_mean_of_calibrated_views(make_table: Make) -> None:
    table = make_table(19 * VIEWS, labels=LABELS, kind="logit_sum", summed_over=19)
    made = calibrate_in_folds({"a": table}, FOLDS)
    temperatures = np.array(made.tables["a"].about["calibration"]["temperatures"])
    expected = VIEWS.mean(axis=(1, 2)) / temperatures[FOLDS][:, None]
    np.testing.assert_allclose(mean_logits(made.tables["a"]), expected, rtol=1e-4, atol=1e-5)
    assert made.tables["a"].kind == "logits"
    assert made.after["a"]["nll"] < made.before["a"]["nll"]
    assert made.before["a"]["videos"] == 60


def test_probabilities_are_calibrated_by_their_logarithms(make_table: Make) -> None:
    one_view = VIEWS[:, :1, :1]
    logits = calibrate_in_folds({"a": make_table(one_view, labels=LABELS)}, FOLDS)
    table = make_table(softmax(one_view), labels=LABELS, kind="probs")
    probs = calibrate_in_folds({"a": table}, FOLDS)
    a, b = (softmax(made.tables["a"].scores) for made in (logits, probs))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_on_validation_videos_whose_classes_stand_in_another_order(make_table: Make) -> None:
    tables = {"a": make_table(VIEWS, labels=LABELS)}
    names, order = [f"w{row}" for row in range(60)], [2, 0, 3, 1]
    val = make_table(
        5 * VIEWS[..., order],
        names=names,
        labels=[order.index(label) for label in LABELS],
        class_names=[f"c{label}" for label in order],
    )
    made = calibrate_on(tables, {"a": val})
    straight = calibrate_on(tables, {"a": make_table(5 * VIEWS, names=names, labels=LABELS)})
    np.testing.assert_allclose(made.scalings["a"][0].factor, straight.scalings["a"][0].factor)
    np.testing.assert_array_equal(made.tables["a"].scores, straight.tables["a"].scores)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (lambda make: {}, "no validation scores of a"),
        (
            lambda make: {"a": make(VIEWS, labels=LABELS)},
            "are among those that are fused",
        ),
        (
            lambda make: {"a": make(VIEWS[..., :3], names=[f"w{v}" for v in range(60)])},
            "other classes",
        ),
        (
            lambda make: {"a": make(VIEWS[:1], names=["w"], labels=[-1])},
            "no labelled videos to calibrate on",
        ),
    ],
)
def test_validation_scores_that_do_not_do(make_table: Make, others: Callable, message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibrate_on({"a": make_table(VIEWS, labels=LABELS)}, others(make_table))


@given(order=st.permutations(range(60)))
@settings(max_examples=5)
def test_the_order_of_the_videos_is_irrelevant(make_table: Make, order: list[int]) -> None:
    def calibrated(rows: list[int]) -> ScoreTable:
        names, labels = [f"v{row}_g{row // 3}" for row in rows], LABELS[rows]
        groups = video_groups(names, r"_(g\d+)", dataset=None)
        table = make_table(VIEWS[rows], names=names, labels=labels)
        return calibrate_in_folds({"a": table}, grouped_folds(groups, labels)).tables["a"]

    straight, moved = calibrated(list(range(60))), calibrated(order)
    np.testing.assert_allclose(moved.scores, straight.scores[order], rtol=1e-4)
