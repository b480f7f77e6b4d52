"""ROVER: one sentence out of those of several systems, by votes word by word.

Fiscus, "A post-processing system to yield reduced word error rates: Recognizer Output Voting Error
Reduction (ROVER)", ASRU 1997. The systems need no common time steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import numpy as np

from twostream.sequence.decoding import Hypothesis, align_labels
from twostream.sequence.word_error_rate import Costs, align

COSTS = Costs((4, 0), (3, 0))  # of the alignment: NIST's weights
VOTES = 0.5  # of a word's score, section 2.2 (alpha): the rest is its confidence
NO_WORD = 0.7  # confidence of a system in no word where others have one: Conf(@) of section 2.2


class Vote(NamedTuple):
    """What a system says in one place: a label, or None for no word there."""

    label: int | None
    confidence: float
    weight: float


def confidences(log_probs: np.ndarray, labels: Sequence[int]) -> list[float]:
    """How sure a network is of each of its labels: its highest probability while it lasts, 0 to 1.

    Args:
        log_probs: float (T, classes), class 0 the blank.
    """
    return [
        float(np.exp(log_probs[steps, label].max()))
        for label, steps in zip(labels, align_labels(log_probs, labels), strict=True)
    ]


def combine_sentences(
    sentences: Sequence[Sequence[tuple[int, float]]], *, weights: Sequence[float]
) -> Hypothesis:
    """The sentence of the most votes.

    A B of one system and A C of another, of equal weight: A, then the surer of B and C.

    Args:
        sentences: of each system, its labels and confidences in order.
        weights: of each system.

    Returns:
        Its labels; the score is the sum of the logarithms of their share in the votes.
    """
    places: list[list[Vote]] = []
    for number, sentence in enumerate(sentences):
        silent = [Vote(None, NO_WORD, weight) for weight in weights[: number + 1]]
        votes_now = [Vote(*word, weights[number]) for word in sentence]
        places = [
            [*(place or silent[:-1]), vote or silent[-1]]
            for place, vote in align(places, votes_now, costs=COSTS, match=_is_known)
        ]
    labels, score = [], 0.0
    for votes in places:
        label, share = _elect(votes)
        score += log(share)
        if label is not None:
            labels.append(label)
    return Hypothesis(tuple(labels), score)


def _is_known(place: Sequence[Vote], vote: Vote) -> bool:
    return any(known.label == vote.label for known in place)


def _elect(votes: Sequence[Vote]) -> tuple[int | None, float]:
    """The label of the highest score, and its share: votes and mean confidence, weighted.

    Of equal scores the first system's wins.
    """
    total, scores = sum(vote.weight for vote in votes), dict[int | None, float]()
    for label in dict.fromkeys(vote.label for vote in votes):
        same = [vote for vote in votes if vote.label == label]
        share = sum(vote.weight for vote in same)
        mean = sum(vote.weight * vote.confidence for vote in same) / share
        scores[label] = VOTES * share / total + (1 - VOTES) * mean
    best = max(scores, key=lambda label: scores[label])
    return best, scores[best] / sum(scores.values())
