from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from fusion.reporting.sections import (
    Mistake,
    _pair_row,
    _with_first,
    confusion,
    matrix_chart,
    top_mistakes,
)

PREDICTED = np.array([0, 1, 1, 1, 2, 0])
LABELS = np.array([0, 0, 0, 1, 2, -1])
COUNTS = [[1, 2, 0], [0, 1, 0], [0, 0, 1]]


def test_counts_of_the_labelled_videos() -> None:
    assert confusion(PREDICTED, LABELS, 3).tolist() == COUNTS


def test_the_most_common_mistakes() -> None:
    assert top_mistakes(np.array(COUNTS), "abc", most=5) == [Mistake("a", "b", 2, 3)]


def test_a_square_for_each_pair_that_occurs() -> None:
    root = ElementTree.fromstring(matrix_chart(np.array(COUNTS), ["a", "b<", "c"]))
    titles = [title.text for title in root.iter("title")]
    assert titles == [
        "a, predicted a: 1 videos",
        "a, predicted b<: 2 videos",
        "b<, predicted b<: 1 videos",
        "c, predicted c: 1 videos",
    ]
    assert "3 of 5 videos are on the diagonal" in root.get("aria-label", "")


def test_a_pair_seen_from_the_other_side_has_no_negative_zero() -> None:
    pair = {
        "first": "a", "second": "b", "only_first": 1, "only_second": 1, "p": 1.0, "p_holm": 1.0,
        "difference": 0.0, "interval": [-2.0, 0.0], "smallest": None, "significant": False,
    }  # fmt: skip
    assert _pair_row(_with_first(pair, "b"))[:4] == ("b", "a", "+0.00", "+0.00 to +2.00")
