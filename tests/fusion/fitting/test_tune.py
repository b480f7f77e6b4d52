from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fusion.combining.fuse import VideoScores, score_videos
from fusion.combining.step import Steps
from fusion.fitting.tune import (
    at_threshold,
    cascade_curve,
    cascade_in_folds,
    cascade_on,
    choose_threshold,
    confidence_margin,
    fuse_by_tuned_weights,
    tune_in_folds,
    tune_on,
    tune_on_test,
)
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


@pytest.fixture
def cast(make_table: Make) -> Callable[..., VideoScores]:
    """A factory of streams: the second stream is 3 times as loud, and the worse one."""

    def make(seed: int, videos: int = 400, unknown: int = 0) -> VideoScores:
        rng = np.random.default_rng(seed)
        labels = rng.integers(6, size=videos)
        names = [f"{seed}-{video}" for video in range(videos)]
        signal = np.eye(6)[labels]
        labels[:unknown] = -1
        quiet = rng.normal(size=(videos, 6)) + 2 * signal
        loud = 3 * (rng.normal(size=(videos, 6)) + signal)
        tables = {
            "quiet": make_table(quiet, labels=labels, names=names),
            "loud": make_table(loud, labels=labels, names=names),
        }
        return score_videos(join(tables))

    return make


def right(streams: VideoScores, weights: dict[str, float], chosen: np.ndarray | None = None) -> int:
    fused = sum(weights[key] * stream for key, stream in streams.scores.items())
    hits = np.asarray(fused).argmax(axis=1) == streams.labels
    return int(hits[chosen].sum() if chosen is not None else hits.sum())


def test_weights_of_validation_videos(cast: Callable[..., VideoScores]) -> None:
    streams, val = cast(0), cast(1)
    result = tune_on(streams, val)
    assert result["chosen_on"] == "val"
    assert result["weights"]["quiet"] > 0.75  # its share of the loudness alone is 3 in 4
    assert result["held_out"]["correct"] == right(streams, result["weights"])
    assert result["equal"]["correct"] == right(streams, {"quiet": 0.5, "loud": 0.5})
    assert result["picked"]["correct"] == right(streams, result["picked"]["weights"])
    gap = result["picked"]["correct"] - result["held_out"]["correct"]
    assert gap >= 0
    assert result["optimism"] == pytest.approx(100 * gap / 400)


def test_no_fold_has_a_say_in_its_own_weights(cast: Callable[..., VideoScores]) -> None:
    streams, folds = cast(0), np.arange(400) % 4
    result = tune_in_folds(streams, folds)
    counts = [
        right(streams, fold["weights"], folds == number)
        for number, fold in enumerate(result["folds"])
    ]
    assert [fold["held_out"]["correct"] for fold in result["folds"]] == counts
    assert result["held_out"]["correct"] == sum(counts)
    chosen = [fold["weights"]["quiet"] for fold in result["folds"]]
    assert result["weights"]["quiet"] == pytest.approx(np.mean(chosen), abs=1e-6)
    assert result["spread"]["quiet"] == pytest.approx(max(chosen) - min(chosen), abs=1e-6)
    streams.labels[folds == 2] = (streams.labels[folds == 2] + 1) % 6
    assert tune_in_folds(streams, folds)["folds"][2]["weights"] == result["folds"][2]["weights"]
    assert tune_in_folds(streams, folds)["folds"][1]["weights"] != result["folds"][1]["weights"]


def test_a_choice_on_test_claims_nothing(cast: Callable[..., VideoScores]) -> None:
    result = tune_on_test(cast(0))
    assert result["chosen_on"] == "test"
    assert result["held_out"] is None
    assert result["optimism"] is None
    assert result["weights"] == result["picked"]["weights"]


def test_videos_without_label_are_left_out(cast: Callable[..., VideoScores]) -> None:
    assert tune_in_folds(cast(0, unknown=30), np.arange(400) % 4)["videos"] == 370
    assert tune_on(cast(0), cast(1, unknown=399))["videos"] == 400
    with pytest.raises(InputError, match="no video has a label"):
        tune_on(cast(0), cast(1, unknown=400))


def test_other_streams_or_score_types(cast: Callable[..., VideoScores], make_table: Make) -> None:
    one = score_videos(join({"quiet": make_table(np.zeros((3, 6)))}))
    with pytest.raises(InputError, match="of other streams or classes"):
        tune_on(cast(0), one)
    probs = score_videos(join({"quiet": make_table(np.zeros((3, 6)))}), Steps(combine="probs"))
    with pytest.raises(InputError, match="scores are probs, the others logits"):
        tune_on(one, probs)


def test_validation_videos_that_are_the_others(cast: Callable[..., VideoScores]) -> None:
    with pytest.raises(
        InputError, match="400 videos are among the validation scores and the others"
    ):
        tune_on(cast(0), cast(0))


def test_a_fold_may_have_no_labels_but_not_all_of_them(cast: Callable[..., VideoScores]) -> None:
    streams, folds = cast(0), np.arange(400) % 3
    streams.labels[folds == 2] = -1
    result = tune_in_folds(streams, folds)
    assert [fold["held_out"]["of"] for fold in result["folds"]] == [134, 133, 0]
    assert fuse_by_tuned_weights(streams, result, folds).scores.shape[0] == 400
    streams.labels[folds == 1] = -1
    with pytest.raises(InputError, match="all labelled videos are in fold 1"):
        tune_in_folds(streams, folds)


def test_fused_scores_have_the_weights_that_no_video_chose(
    cast: Callable[..., VideoScores],
) -> None:
    streams, folds = cast(0), np.arange(400) % 4
    result = tune_in_folds(streams, folds)
    fused = fuse_by_tuned_weights(streams, result, folds).scores[:, 0, 0]
    assert (fused.argmax(axis=1) == streams.labels).sum() == result["held_out"]["correct"]
    on_val = tune_on(streams, cast(1))
    fused = fuse_by_tuned_weights(streams, on_val, None).scores[:, 0, 0]
    assert (fused.argmax(axis=1) == streams.labels).sum() == on_val["held_out"]["correct"]


def test_scores_fused_by_a_choice_on_test_say_so_for_ever(cast: Callable[..., VideoScores]) -> None:
    streams = cast(0)
    table = fuse_by_tuned_weights(streams, tune_on_test(streams), None)
    assert table.metadata["streams"]["chosen_on"] == "test"
    assert table.metadata["fitted_on"] == "labels of these videos"
    selected, fitted = score_videos(join({"tuned": table})).warnings
    assert "selected on these very videos, so its accuracy is optimistic" in selected
    assert "fitted on labels of these videos" in fitted


@pytest.mark.parametrize(
    ("subset", "groups", "mark"),
    [
        ("test", "aabb", "test labels, in group folds"),
        ("val", "abcd", "val labels, in folds of single videos"),
        (None, None, "labels of these videos, in group folds"),
    ],
)
def test_weights_of_folds_are_marked(
    cast: Callable[..., VideoScores], subset: str | None, groups: str | None, mark: str
) -> None:
    streams = cast(0)
    of_videos = None if groups is None else tuple(groups * 100)
    if groups == "abcd":
        of_videos = streams.names
    facts = {key: about | {"subset": subset} for key, about in streams.metadata.items()}
    streams = replace(streams, groups=of_videos, metadata=facts)
    folds = np.arange(400) % 4
    result = tune_in_folds(streams, folds)
    assert result["fitted_on"] == mark
    assert fuse_by_tuned_weights(streams, result, folds).metadata["fitted_on"] == mark


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
def cheap_first(make_table: Make) -> Callable[..., VideoScores]:
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


def test_chosen_on_other_videos(cheap_first: Callable[..., VideoScores]) -> None:
    result = cascade_on(cheap_first(0), cheap_first(1), tolerance=0.01)
    check(result, 600)
    assert len(result["thresholds"]) == 1
    cheaper = cascade_on(cheap_first(0), cheap_first(1), tolerance=0.05)
    assert cheaper["flow"]["correct"] < result["flow"]["correct"]


def test_no_fold_has_a_say_in_its_own_threshold(cheap_first: Callable[..., VideoScores]) -> None:
    streams, folds = cheap_first(0, unknown=20), np.arange(600) % 3
    result = cascade_in_folds(streams, folds, tolerance=0.01)
    check(result, 580)
    streams.labels[folds == 1] = 0
    again = cascade_in_folds(streams, folds, tolerance=0.01)
    assert again["thresholds"][1] == result["thresholds"][1]
    assert again["thresholds"][0] != result["thresholds"][0]


def test_of_two_streams_with_labels_only(cheap_first: Callable[..., VideoScores]) -> None:
    with pytest.raises(InputError, match="a cascade needs two streams"):
        cascade_on(cheap_first(0, streams=3), cheap_first(1, streams=3), tolerance=0)
    with pytest.raises(InputError, match="no labelled videos to choose a threshold on"):
        cascade_on(cheap_first(0), cheap_first(1, unknown=600), tolerance=0)
