from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fusion.combining.video_scores import Votes, cast_votes
from fusion.evaluation.text_tables import cascade_lines
from fusion.fitting.cascade import cascade_in_folds, cascade_on
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


@pytest.fixture
def cast(make_table: Make) -> Callable[..., Votes]:
    def make(seed: int, *, streams: int = 2, unknown: int = 0) -> Votes:
        rng = np.random.default_rng(seed)
        labels = rng.integers(5, size=600)
        signal = 2 * np.eye(5)[labels]
        labels[:unknown] = -1
        names = [f"{seed}-{video}" for video in range(600)]
        tables = {
            f"s{s}": make_table(rng.normal(size=(600, 5)) + signal, labels=labels, names=names)
            for s in range(streams)
        }
        return cast_votes(tables)

    return make


def check(result: dict, videos: int) -> None:
    assert result["top1"]["of"] == result["flow"]["of"] == videos
    assert 0.1 < result["flow"]["correct"] / videos < 0.9
    assert result["top1"]["correct"] > result["never"]["correct"]
    assert result["top1"]["correct"] > result["always"]["correct"] - 0.05 * videos
    flow, correct = zip(*result["curve"], strict=True)
    assert (flow[0], flow[-1]) == (0, videos)
    assert (correct[0], correct[-1]) == (result["never"]["correct"], result["always"]["correct"])


def test_chosen_on_other_videos(cast: Callable[..., Votes]) -> None:
    result = cascade_on(cast(0), cast(1), tolerance=0.01)
    check(result, 600)
    assert len(result["thresholds"]) == 1
    cheaper = cascade_on(cast(0), cast(1), tolerance=0.05)
    assert cheaper["flow"]["correct"] < result["flow"]["correct"]


def test_no_fold_has_a_say_in_its_own_threshold(cast: Callable[..., Votes]) -> None:
    votes, folds = cast(0, unknown=20), np.arange(600) % 3
    result = cascade_in_folds(votes, folds, tolerance=0.01)
    check(result, 580)
    votes.labels[folds == 1] = 0
    again = cascade_in_folds(votes, folds, tolerance=0.01)
    assert again["thresholds"][1] == result["thresholds"][1]
    assert again["thresholds"][0] != result["thresholds"][0]


def test_for_people(cast: Callable[..., Votes]) -> None:
    lines = cascade_lines(cascade_in_folds(cast(0), np.arange(600) % 3, tolerance=0.01))
    assert [line.split("  ")[0] for line in lines[1:4]] == [
        "cascade", "always both", "first stream only",
    ]  # fmt: skip
    assert lines[-1].startswith("flow where the first stream's lead is below 0.")


def test_of_two_streams_with_labels_only(cast: Callable[..., Votes]) -> None:
    with pytest.raises(InputError, match="a cascade is of two streams"):
        cascade_on(cast(0, streams=3), cast(1, streams=3), tolerance=0)
    with pytest.raises(InputError, match="no labelled videos to choose a threshold on"):
        cascade_on(cast(0), cast(1, unknown=600), tolerance=0)
