from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fusion.combining.fuse import score_videos
from fusion.combining.step import Step
from fusion.combining.strategies import STRATEGIES
from fusion.evaluation.complementarity import (
    class_accuracy,
    complementarity,
    segment_accuracy,
    yules_q,
)
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable

Make = Callable[..., ScoreTable]
YES, NO = [0.0, 1.0], [1.0, 0.0]


def test_mistakes_of_two_streams_written_out(make_table: Make) -> None:
    labels = [1, 1, 1, 1, 1, -1]
    streams = score_videos(join({
        "a": make_table([YES, YES, YES, NO, NO, NO], labels=labels),
        "b": make_table([YES, YES, NO, YES, NO, NO], labels=labels),
    }))  # fmt: skip
    result = complementarity(streams)
    assert (result["oracle"]["correct"], result["oracle"]["of"]) == (4, 5)
    (pair,) = result["pairs"]
    assert pair["double_fault"]["correct"] == 1
    assert pair["q"] == pytest.approx((2 * 1 - 1 * 1) / (2 * 1 + 1 * 1))


def test_q_at_its_ends() -> None:
    one, other = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert yules_q(one, one) == 1
    assert yules_q(one, ~one) == -1
    assert yules_q(one, other) == 0
    assert yules_q(one, np.ones(4, dtype=bool)) is None


def test_segments_alone_and_without(make_table: Make) -> None:
    views = [[YES, NO, [0, 0.4]], [YES, YES, [9, 0]], [YES, NO, NO]]  # videos, segments
    table = make_table(views, labels=[1, 1, -1])
    rows = segment_accuracy(table)
    counts = [(row["segment"], row["alone"]["correct"], row["without"]["correct"]) for row in rows]
    assert counts == [(1, 2, 0), (2, 1, 1), (3, 1, 1)]
    by_max = segment_accuracy(table, segments=Step("max", STRATEGIES["max"]))
    assert [row["without"]["correct"] for row in by_max] == [0, 1, 1]
    weights = {"weights": [1, 1, 1]}
    weighed = segment_accuracy(table, segments=Step("weighted", STRATEGIES["weighted"], weights))
    assert [row["without"] for row in weighed] == [None] * 3
    assert segment_accuracy(make_table([YES], labels=[1]))[0]["without"] is None


def test_classes() -> None:
    a, b = np.array([YES, YES, NO, NO]), np.array([YES, YES, YES, YES])
    labels = np.array([1, 1, 0, -1])
    assert class_accuracy({"a": a, "b": b}, labels, ("x", "y")) == [
        {"class": "x", "videos": 1, "correct": {"a": 1, "b": 0}},
        {"class": "y", "videos": 2, "correct": {"a": 2, "b": 2}},
    ]
