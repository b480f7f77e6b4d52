from __future__ import annotations

import numpy as np
import pytest

from fusion.evaluation.significance import compare
from twostream_base.errors import InputError


def answers(*right: int) -> np.ndarray:
    """Scores of 10 videos of class 1, right for the numbered ones."""
    scores = np.tile([1.0, 0.0], (10, 1))
    scores[list(right)] = [0.0, 1.0]
    return scores


LABELS = np.ones(10, dtype=np.int64)


def test_pairs_written_out() -> None:
    results = {"a": answers(*range(9)), "b": answers(0, 9), "c": answers(*range(8))}
    found = compare(results, LABELS, rng=np.random.default_rng(0))
    assert [(system["name"], system["correct"]) for system in found["systems"]] == [
        ("a", 9), ("b", 2), ("c", 8),
    ]  # fmt: skip
    ab, ac, bc = found["pairs"]
    assert (ab["first"], ab["second"], ab["only_first"], ab["only_second"]) == ("a", "b", 8, 1)
    assert ab["difference"] == 70
    assert ab["p"] == pytest.approx(20 / 512)
    assert ab["p_holm"] == pytest.approx(60 / 512)
    assert (ac["p"], bc["difference"]) == (1, -60)
    low, high = ab["interval"]
    assert 0 < low < 70 < high <= 100
    assert found["bootstrap"] == "videos"


def test_videos_without_label_have_no_say() -> None:
    labels = LABELS.copy()
    labels[9] = -1
    results = {"a": answers(*range(9)), "b": answers(0, 9)}
    found = compare(results, labels, rng=np.random.default_rng(0), groups=list("aabbccddee"))
    assert found["videos"] == 9
    assert found["bootstrap"] == "groups"
    assert (found["pairs"][0]["only_first"], found["pairs"][0]["only_second"]) == (8, 0)


def test_the_same_seed_gives_the_same_intervals() -> None:
    results = {"a": answers(1, 2, 3), "b": answers(4, 5)}
    first, second = (compare(results, LABELS, rng=np.random.default_rng(7)) for _ in range(2))
    assert first == second


def test_nothing_to_compare() -> None:
    rng = np.random.default_rng(0)
    for results, labels in (
        ({"a": answers()}, LABELS),
        ({"a": answers(), "b": answers()}, -LABELS),
    ):
        with pytest.raises(InputError, match="two results, and videos with a label"):
            compare(results, labels, rng=rng)
