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

SUBSTITUTION, GAP = 4, 3  # weights of the alignment: those of NIST's sclite
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
        joined: list[list[Vote]] = []
        for place, word in _align(places, [label for label, _ in sentence]):
            before = silent[:-1] if place is None else places[place]
            vote = silent[-1] if word is None else Vote(*sentence[word], weights[number])
            joined.append([*before, vote])
        places = joined
    labels, score = [], 0.0
    for votes in places:
        label, share = _elect(votes)
        score += log(share)
        if label is not None:
            labels.append(label)
    return Hypothesis(tuple(labels), score)


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


def _align(
    places: Sequence[Sequence[Vote]], sentence: Sequence[int]
) -> list[tuple[int | None, int | None]]:
    """Pairs of a place and a word in order, each None where the other side has nothing."""

    def differ(place: int, word: int) -> int:
        return 0 if any(vote.label == sentence[word] for vote in places[place]) else SUBSTITUTION

    cost = np.zeros((len(places) + 1, len(sentence) + 1), np.int64)
    cost[:, 0] = GAP * np.arange(len(places) + 1)
    cost[0] = GAP * np.arange(len(sentence) + 1)
    for p in range(len(places)):
        for w in range(len(sentence)):
            both = cost[p, w] + differ(p, w)
            cost[p + 1, w + 1] = min(both, cost[p, w + 1] + GAP, cost[p + 1, w] + GAP)
    pairs: list[tuple[int | None, int | None]] = []
    p, w = len(places), len(sentence)
    while p or w:
        if p and w and cost[p, w] == cost[p - 1, w - 1] + differ(p - 1, w - 1):
            p, w = p - 1, w - 1
            pairs.append((p, w))
        elif p and cost[p, w] == cost[p - 1, w] + GAP:
            p -= 1
            pairs.append((p, None))
        else:
            w -= 1
            pairs.append((None, w))
    return pairs[::-1]
