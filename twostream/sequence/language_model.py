"""A bigram language model over labels, with Witten-Bell smoothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

EDGE = 0  # the label of no word stands for the beginning and the end of a sentence


class LanguageModel:
    """P(label | previous label), Witten-Bell smoothed (Witten and Bell, 1991, method C).

    P(w | h) = (count(h w) + types(h) P(w)) / (count(h) + types(h)), where types(h) is the number of
    different labels that followed h, and P(w) is the unigram frequency of w with one added to each
    count, so that unseen labels have a probability too.

    Attributes:
        log_probs: float64 (labels + 1, labels + 1): row the previous label, column the label; row 0
            is the beginning, column 0 the end of a sentence.
    """

    def __init__(self, sentences: Iterable[Sequence[int]], *, labels: int) -> None:
        counts = np.zeros((labels + 1, labels + 1))
        for sentence in sentences:
            for before, label in zip((EDGE, *sentence), (*sentence, EDGE), strict=True):
                counts[before, label] += 1
        unigram = counts.sum(axis=0) + 1
        unigram /= unigram.sum()
        types = (counts > 0).sum(axis=1, keepdims=True)
        types[counts.sum(axis=1) == 0] = 1  # never seen: falls back to the unigram
        probs = (counts + types * unigram) / (counts.sum(axis=1, keepdims=True) + types)
        self.log_probs = np.log(probs)
        self._prefix_scores: dict[tuple[int, ...], float] = {(): 0.0}

    def score(self, labels: tuple[int, ...], *, ended: bool) -> float:
        """Log-probability that a sentence begins with `labels`, or (`ended`) consists of them."""
        if ended:
            last = labels[-1] if labels else EDGE
            return self.score(labels, ended=False) + float(self.log_probs[last, EDGE])
        if labels not in self._prefix_scores:
            before = labels[-2] if len(labels) > 1 else EDGE
            step = float(self.log_probs[before, labels[-1]])
            self._prefix_scores[labels] = self.score(labels[:-1], ended=False) + step
        return self._prefix_scores[labels]
