"""Votes on recognised sentences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import log

import numpy as np
import pytest

from twostream.sequence.decoding import align_labels, log_probability
from twostream.sequence.rover import combine_sentences, confidences

A, B, C, D = 1, 2, 3, 4


def sure(*labels: int, confidence: float = 0.9) -> list[tuple[int, float]]:
    return [(label, confidence) for label in labels]


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        ([sure(A, B, C)], (A, B, C)),
        ([sure(A, B, C), sure(A, D, C), sure(A, D, C)], (A, D, C)),
        ([sure(A, B, C), sure(A, C), sure(A, C)], (A, C)),
        ([sure(A, C), sure(A, B, C), sure(A, B, C)], (A, B, C)),
        # Two systems: the surer word wins, and a word against none if it is surer than 0.7.
        ([sure(A, B), [(A, 0.9), (C, 0.95)]], (A, C)),
        ([sure(A), [(A, 0.9), (C, 0.8)]], (A, C)),
        ([sure(A), [(A, 0.9), (C, 0.6)]], (A,)),
        ([[(C, 0.6), (A, 0.9)], sure(A)], (A,)),
        # Without a word in common: place by place.
        ([sure(A, B, confidence=0.5), sure(C, D)], (C, D)),
        ([sure(), sure(A, confidence=0.6), sure()], ()),
        ([sure(), sure()], ()),
    ],
)
def test_who_wins(sentences: Sequence[list[tuple[int, float]]], expected: tuple[int, ...]) -> None:
    assert combine_sentences(sentences, weights=[1.0] * len(sentences)).labels == expected


def test_weights_of_systems() -> None:
    sentences = [sure(A, B), sure(A, C), sure(A, C)]
    assert combine_sentences(sentences, weights=[1, 1, 1]).labels == (A, C)
    assert combine_sentences(sentences, weights=[5, 1, 1]).labels == (A, B)


def test_score() -> None:
    """Of B against C with two votes of three: 2/3 and 1/3 of the votes, 0.9 each of confidence."""
    won = combine_sentences([sure(A, C), sure(A, C), sure(A, B)], weights=[1, 1, 1])
    scores = 0.5 * 2 / 3 + 0.5 * 0.9, 0.5 / 3 + 0.5 * 0.9
    assert won.score == pytest.approx(log(scores[0] / sum(scores)))


def best_path(log_probs: np.ndarray, labels: tuple[int, ...]) -> tuple[int, ...]:
    """Of all paths, the most probable one that collapses to the labels."""

    def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
        changes = [new for old, new in zip((0, *path), path, strict=False) if new != old]
        return tuple(label for label in changes if label)

    paths = product(range(log_probs.shape[1]), repeat=len(log_probs))
    matching = [path for path in paths if collapsed(path) == labels]
    return max(matching, key=lambda path: log_probs[range(len(path)), path].sum())


@pytest.mark.parametrize("labels", [(), (1,), (1, 2), (1, 1), (2, 1, 2)])
def test_alignment_is_the_best_of_all_paths(labels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(labels))
    log_probs = np.log(rng.dirichlet(np.ones(3), size=6))
    path = best_path(log_probs, labels)
    rebuilt = [0] * 6
    for label, steps in zip(labels, align_labels(log_probs, labels), strict=True):
        rebuilt[steps] = [label] * (steps.stop - steps.start)
    assert tuple(rebuilt) == path
    assert log_probability(log_probs, labels) >= log_probs[range(6), path].sum()


def test_too_few_steps() -> None:
    with pytest.raises(ValueError, match="2 time steps are too few for 2 labels"):
        align_labels(np.log(np.full((2, 3), 1 / 3)), (1, 1))


def test_confidences() -> None:
    rows = np.array([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.9, 0.05, 0.05], [0.3, 0.1, 0.6]])
    assert confidences(np.log(rows), (1, 2)) == pytest.approx([0.8, 0.6])
    assert confidences(np.log(rows[:0]), ()) == []
