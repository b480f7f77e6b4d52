from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fusion.combining.fuse import VideoScores, fuse, score_videos
from fusion.combining.step import MEAN, Step, Steps
from fusion.combining.strategies import STRATEGIES
from fusion.evaluation.diagnosis import (
    at_chance,
    diagnose,
    doubled_rows,
    suspicious_labels,
    swapped_classes,
)
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable

Make = Callable[..., ScoreTable]
RNG = np.random.default_rng(0)
LABELS = RNG.integers(8, size=400)
NOISE = RNG.normal(size=(2, 400, 8)) + 3 * np.eye(8)[LABELS]


@pytest.fixture
def cast(make_table: Make) -> Callable[..., VideoScores]:
    def make(*streams: np.ndarray, labels: np.ndarray = LABELS, **options: str) -> VideoScores:
        keys = ("spatial", "motion")[: len(streams)]
        tables = {
            key: make_table(scores, labels=labels)
            for key, scores in zip(keys, streams, strict=True)
        }
        return score_videos(join(tables), Steps(**options))

    return make


def lines(streams: VideoScores, strategy: str) -> list[str]:
    fused = STRATEGIES[strategy](np.stack([*streams.scores.values()], axis=-2))
    return diagnose(streams, fused.argmax(axis=1), strategy=strategy)


def test_nothing_is_said_of_sound_streams(cast: Callable[..., VideoScores]) -> None:
    assert lines(cast(*NOISE), "mean") == []
    assert lines(cast(NOISE[0]), "mean") == []


def test_a_scale_leak(cast: Callable[..., VideoScores]) -> None:
    streams = cast(NOISE[0], 20 * NOISE[1])
    (line,) = lines(streams, "max")
    assert line.startswith("max agrees with motion on 100.0 % of the videos; ")
    assert "its logits are 19.8x as wide as those of spatial: this is not fusion; try" in line
    mild = cast(NOISE[0], 2 * NOISE[1])
    (hint,) = lines(mild, "mean")
    assert hint == (
        "the logits of motion are 2.0x as wide as those of spatial, which weighs it more; "
        "try --calibrate"
    )
    assert lines(cast(NOISE[0], 2 * NOISE[1], combine="probs"), "mean") == []
    named = dict(zip(("rgb2", "rgb"), streams.scores.values(), strict=True))
    (line,) = lines(replace(streams, scores=named), "max")
    assert "its logits are 19.8x as wide as those of rgb2: this is not fusion" in line


def test_calibrated_streams_may_differ_in_width(cast: Callable[..., VideoScores]) -> None:
    streams = cast(NOISE[0], 2 * NOISE[1])
    metadata = {key: facts | {"calibration": {}} for key, facts in streams.metadata.items()}
    assert lines(replace(streams, metadata=metadata), "mean") == []


def test_a_stream_that_is_shown_by_itself_agrees_with_itself(
    cast: Callable[..., VideoScores],
) -> None:
    streams = cast(*NOISE)
    assert diagnose(streams, streams.scores["spatial"].argmax(axis=1), strategy="spatial") == []


def test_dominance_without_a_difference_of_scale(cast: Callable[..., VideoScores]) -> None:
    streams = cast(*NOISE)
    (line,) = diagnose(streams, streams.scores["spatial"].argmax(axis=1), strategy="own:first")
    assert line == "own:first agrees with spatial on 100.0 % of the videos; spatial decides alone"
    assert diagnose(cast(NOISE[0], NOISE[0]), NOISE[0].argmax(axis=1), strategy="mean") == []


def test_rows_that_are_doubled() -> None:
    assert doubled_rows(["a", "b", "c"], np.array([[1, 2], [3, 4], [5, 6]])) is None
    found = doubled_rows(["a", "b", "c"], np.array([[1, 2], [3, 4], [1, 2]]))
    assert found == "1 videos have the scores of another one: c as a"


def test_accuracy_at_chance(cast: Callable[..., VideoScores]) -> None:
    assert at_chance(NOISE[0], LABELS) is None
    assert at_chance(NOISE[0], np.full(400, -1)) is None
    found = at_chance(NOISE[0][::-1], LABELS)
    assert found is not None
    assert "no better than chance (12.50 %): are the labels, or the order of the classes" in found
    assert lines(cast(NOISE[0], NOISE[1][::-1]), "mean")[0].startswith("motion: top-1 is 1")


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4, 5, 6, 7], [0, 1, 4, 2, 3, 5, 6, 7]])
def test_classes_in_another_order(cast: Callable[..., VideoScores], order: list[int]) -> None:
    sure = NOISE[0] + 2 * np.eye(8)[LABELS]
    assert swapped_classes(cast(sure), sure) is None
    found = swapped_classes(cast(sure), sure[:, order])
    assert found is not None
    moved = [c for c in range(8) if order[c] != c]
    assert all(f"c{order[c]} is predicted as c{c}" in found for c in moved)
    assert found.count("is predicted as") == len(moved)
    absorbed = sure.copy()
    absorbed[:, 3] += 9  # one class takes all: no other order would mend that
    assert swapped_classes(cast(absorbed), absorbed) is None


def test_guessing_between_two_classes_is_no_other_order(cast: Callable[..., VideoScores]) -> None:
    """A stream blind to what tells two classes apart calls 7 of 12 by the other's name, and 5."""
    said = np.array([0] * 5 + [1] * 7 + [0] * 7 + [1] * 5)
    guesses = np.eye(8)[said]
    streams = cast(guesses, labels=np.repeat([0, 1], 12))
    assert swapped_classes(streams, guesses) is None
    assert swapped_classes(streams, np.eye(8)[1 - streams.labels]) is not None


def test_labels_to_look_at(cast: Callable[..., VideoScores]) -> None:
    sure = NOISE + 6 * np.eye(8)[LABELS]
    assert suspicious_labels(cast(*sure)) is None
    wrong = LABELS.copy()
    wrong[7] = (LABELS[7] + 1) % 8
    sure[:, 7, wrong[7]] = -9
    found = suspicious_labels(cast(*sure, labels=wrong))
    assert (
        found == f"1 labels to look at, as all streams agree on another class: v7 (c{LABELS[7]}?)"
    )
    sure[1, 7] = 0
    assert suspicious_labels(cast(*sure, labels=wrong)) is None


def test_fuse_has_no_part_in_it(make_table: Make) -> None:
    tables = {"spatial": make_table(NOISE[0]), "motion": make_table(20 * NOISE[1])}
    assert fuse(tables, strategy=Step("max", STRATEGIES["max"])).warnings == []
    assert fuse(tables, strategy=MEAN).warnings == []
