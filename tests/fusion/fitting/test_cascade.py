from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fusion.combining.fuse import VideoScores, score_videos
from fusion.fitting.cascade import (
    at_threshold,
    cascade_curve,
    cascade_in_folds,
    cascade_on,
    choose_threshold,
    confidence_margin,
)
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]

MARGINS = np.array([0.9, 0.1, 0.5, 0.5, 0.8])
ALONE = np.array([True, False, False, True, True])
FUSED = np.array([True, True, True, True, False])


def test_the_curve_written_out() -> None:
    curve = cascade_curve(MARGINS, ALONE, FUSED)
    assert curve.fused.tolist() == [0, 1, 3, 4, 5]
    assert curve.correct.tolist() == [3, 4, 5, 4, 4]
    np.testing.assert_allclose(curve.thresholds, [0, 0.1, 0.5, 0.8, 0.9])


def test_the_curve_is_that_of_every_threshold_tried() -> None:
    rng = np.random.default_rng(0)
    leads = rng.random(200).round(2)
    alone, fused = rng.random((2, 200)) < [[0.6], [0.8]]
    curve = cascade_curve(leads, alone, fused)
    for threshold, needs, correct in zip(*curve, strict=True):
        found = at_threshold(threshold, leads, alone, fused)
        assert found["flow"]["correct"] == needs == (leads < threshold).sum()
        assert found["top1"]["correct"] == correct
    assert curve.correct[-1] == fused.sum()


def test_the_least_flow_that_costs_no_more_than_allowed() -> None:
    curve = cascade_curve(MARGINS, ALONE, FUSED)
    assert choose_threshold(curve) == pytest.approx(0.1)  # 4 right, as when all are fused
    assert choose_threshold(curve, tolerance=0.2) == 0
    assert choose_threshold(cascade_curve(MARGINS, ALONE, ALONE)) == 0


def test_leads_are_differences_of_probabilities() -> None:
    probs = np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]])
    np.testing.assert_allclose(confidence_margin(probs, "probs"), [0.5, 0])
    np.testing.assert_allclose(confidence_margin(np.log(probs) + 5, "logits"), [0.5, 0], atol=1e-12)


def test_no_videos() -> None:
    with pytest.raises(InputError, match="no labelled videos"):
        at_threshold(0.5, MARGINS[:0], ALONE[:0], FUSED[:0])


@pytest.fixture
def cast(make_table: Make) -> Callable[..., VideoScores]:
    def make(seed: int, *, streams: int = 2, unknown: int = 0) -> VideoScores:
        rng = np.random.default_rng(seed)
        labels = rng.integers(5, size=600)
        signal = 2 * np.eye(5)[labels]
        labels[:unknown] = -1
        names = [f"{seed}-{video}" for video in range(600)]
        tables = {
            f"s{s}": make_table(rng.normal(size=(600, 5)) + signal, labels=labels, names=names)
            for s in range(streams)
        }
        return score_videos(join(tables))

    return make


def check(result: dict, videos: int) -> None:
    assert result["top1"]["of"] == result["flow"]["of"] == videos
    assert 0.1 < result["flow"]["correct"] / videos < 0.9
    assert result["top1"]["correct"] > result["never"]["correct"]
    assert result["top1"]["correct"] > result["always"]["correct"] - 0.05 * videos
    flow, correct = zip(*result["curve"], strict=True)
    assert (flow[0], flow[-1]) == (0, videos)
    assert (correct[0], correct[-1]) == (result["never"]["correct"], result["always"]["correct"])


def test_chosen_on_other_videos(cast: Callable[..., VideoScores]) -> None:
    result = cascade_on(cast(0), cast(1), tolerance=0.01)
    check(result, 600)
    assert len(result["thresholds"]) == 1
    cheaper = cascade_on(cast(0), cast(1), tolerance=0.05)
    assert cheaper["flow"]["correct"] < result["flow"]["correct"]


def test_no_fold_has_a_say_in_its_own_threshold(cast: Callable[..., VideoScores]) -> None:
    streams, folds = cast(0, unknown=20), np.arange(600) % 3
    result = cascade_in_folds(streams, folds, tolerance=0.01)
    check(result, 580)
    streams.labels[folds == 1] = 0
    again = cascade_in_folds(streams, folds, tolerance=0.01)
    assert again["thresholds"][1] == result["thresholds"][1]
    assert again["thresholds"][0] != result["thresholds"][0]


def test_of_two_streams_with_labels_only(cast: Callable[..., VideoScores]) -> None:
    with pytest.raises(InputError, match="a cascade needs two streams"):
        cascade_on(cast(0, streams=3), cast(1, streams=3), tolerance=0)
    with pytest.raises(InputError, match="no labelled videos to choose a threshold on"):
        cascade_on(cast(0), cast(1, unknown=600), tolerance=0)
