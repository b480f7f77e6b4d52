from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fusion.combining.fuse import VideoScores, score_videos
from fusion.fitting.tune import fuse_by_tuned_weights, tune_in_folds, tune_on, tune_on_test
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
    probs = score_videos(join({"quiet": make_table(np.zeros((3, 6)))}), combine="probs")
    with pytest.raises(InputError, match="scores are probs, the others logits"):
        tune_on(one, probs)


def test_validation_videos_that_are_the_others(cast: Callable[..., VideoScores]) -> None:
    with pytest.raises(
        InputError, match="400 videos are among the validation scores and the others"
    ):
        tune_on(cast(0), cast(0))


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
    (warning,) = score_videos(join({"tuned": table})).warnings
    assert "selected on these very videos, so its accuracy is optimistic" in warning
