from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from fusion.reporting.content import with_first
from fusion.reporting.sections import _pair_row, confusion, matrix_chart, matrix_order, top_mistakes

PREDICTED = np.array([0, 1, 1, 1, 2, 0])
LABELS = np.array([0, 0, 0, 1, 2, -1])
COUNTS = [[1, 2, 0], [0, 1, 0], [0, 0, 1]]


def test_counts_of_the_labelled_videos() -> None:
    assert confusion(PREDICTED, LABELS, 3).tolist() == COUNTS


def test_the_most_common_mistakes() -> None:
    assert top_mistakes(np.array(COUNTS), "abc", most=5) == [("a", "b", "2 of 3")]


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


def test_what_is_beside_a_small_matrix_has_room() -> None:
    """A letter of 13 px is 6.5 px wide on average."""
    root = ElementTree.fromstring(matrix_chart(np.array([[1, 2], [0, 1]]), ["a", "b"]))
    width = float(root.get("viewBox", "").split()[2])
    sheet = next(part for part in root.iter("rect") if part.get("class") == "sheet")
    columns, rows = (text for text in root.iter("text") if text.get("class") == "title")
    assert float(columns.get("x", "")) + 6.5 * len(columns.text or "") < width
    assert float(rows.get("x", "")) + 6.5 * len(rows.text or "") < float(sheet.get("x", ""))


def test_a_pair_seen_from_the_other_side_has_no_negative_zero() -> None:
    pair = {
        "first": "a", "second": "b", "only_first": 1, "only_second": 1, "p": 1.0, "p_holm": 1.0,
        "difference": 0.0, "interval": [-2.0, 0.0], "smallest": None, "significant": False,
    }  # fmt: skip
    assert _pair_row(with_first(pair, "b"))[:4] == ("b", "a", "+0.00", "+0.00 to +2.00")


def test_the_matrix_of_many_classes_has_those_that_are_mistaken_side_by_side() -> None:
    """Pairs 3-70, 10-40 and 20-21 are taken for each other; class 99 does not occur."""
    counts = np.diag(np.full(100, 9))
    counts[99, 99] = 0
    for first, second, videos in ((3, 70, 4), (10, 40, 3), (20, 21, 2)):
        counts[first, second] = counts[second, first] = videos
    order = matrix_order(counts, most=14)
    assert sorted(order) == [*range(9), 10, 20, 21, 40, 70]
    places = {name: place for place, name in enumerate(order)}
    assert {abs(places[a] - places[b]) for a, b in ((3, 70), (10, 40), (20, 21))} == {1}
    assert matrix_order(counts, most=6) == [3, 10, 20, 21, 40, 70]
    assert matrix_order(np.diag([1, 0, 2]), most=60) == [0, 2]
