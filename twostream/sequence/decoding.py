"""CTC decoding, greedy or by beam search with a bigram language model.

Graves et al., "Connectionist Temporal Classification", ICML 2006. Throughout, `log_probs` is
float (T, classes), natural logarithm, class 0 the blank; labels count from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, inf, log1p

import numpy as np

BLANK = 0
Labels = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One decoded sequence.

    Attributes:
        score: log-probability of the labels, plus the terms of a language model.
    """

    labels: Labels
    score: float


def greedy(log_probs: np.ndarray) -> Labels:
    """Best-path decoding (section 3.2): the best class of each step, merged, without blanks."""
    best = log_probs.argmax(axis=1)
    changed = np.concatenate([[True], best[1:] != best[:-1]])
    return tuple(int(label) for label in best[changed] if label != BLANK)


def decode(log_probs: np.ndarray, *, beam: int) -> Labels:
    """The best labels of a beam search of that width (0: greedily); none of no time steps."""
    if not len(log_probs):
        return ()
    return beam_search(log_probs, beam=beam)[0].labels if beam else greedy(log_probs)


def _ctc_states(labels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The labels with blanks around them, (2 L + 1,), and which may follow the last state but one.

    Over a blank, that is, unless it would merge two equal labels.
    """
    states = np.full(2 * len(labels) + 1, BLANK)
    states[1::2] = labels
    skips = np.zeros(len(states), dtype=bool)
    skips[2:] = (states[2:] != BLANK) & (states[2:] != states[:-2])
    return states, skips


def log_probability(log_probs: np.ndarray, labels: Sequence[int]) -> float:
    """Log of the summed probability of all paths of `labels`: the forward pass of section 4.1."""
    states, skips = _ctc_states(labels)
    alpha = np.full(len(states), -inf)
    alpha[0] = 0.0  # before the first step: as after a blank
    for step, emission in enumerate(log_probs):
        moved = np.concatenate([[-inf], alpha[:-1]])
        skipped = np.where(skips, np.concatenate([[-inf, -inf], alpha])[: len(alpha)], -inf)
        total = np.logaddexp(alpha, moved)
        alpha = (total if step == 0 else np.logaddexp(total, skipped)) + emission[states]
    return float(np.logaddexp.reduce(alpha[-2:]))


def align_labels(log_probs: np.ndarray, labels: Sequence[int]) -> list[slice]:
    """The time steps of each label on the most probable path of all of them (Viterbi).

    Raises:
        ValueError: fewer time steps than the labels need.
    """
    if not labels:
        return []
    states, skips = _ctc_states(labels)
    best, origins = np.full(len(states), -inf), []
    best[:2] = log_probs[0, states[:2]]
    for emission in log_probs[1:]:
        moved = np.concatenate([[-inf], best[:-1]])
        skipped = np.where(skips, np.concatenate([[-inf, -inf], best])[: len(best)], -inf)
        choices = np.stack([best, moved, skipped])
        origins.append(choices.argmax(axis=0))
        best = choices.max(axis=0) + emission[states]
    state = len(states) - 2 + int(best[-1] > best[-2])
    if best[state] == -inf:
        raise ValueError(f"{len(log_probs)} time steps are too few for {len(labels)} labels")
    path = [state]
    for origin in reversed(origins):
        path.append(path[-1] - int(origin[path[-1]]))
    path.reverse()
    spans = [
        [step for step, state in enumerate(path) if state == 2 * n + 1] for n in range(len(labels))
    ]
    return [slice(steps[0], steps[-1] + 1) for steps in spans]


def beam_search(
    log_probs: np.ndarray,
    *,
    beam: int = 10,
    classes: int = 40,
    language: LanguageModel | None = None,
    weight: float = 0.0,
    bonus: float = 0.0,
) -> list[Hypothesis]:
    """Prefix beam search (Hannun et al., "First-Pass Large Vocabulary ...", 2014, algorithm 1).

    The hypotheses that remain, and the greedy one, are scored exactly over all paths: the first is
    never less probable than the greedy one.

    Args:
        beam: prefixes kept at each step. classes: only that many of the most probable classes of a
            step extend a prefix.
        language, weight, bonus: the score of a hypothesis is its log-probability plus `weight`
            times that of the language model, plus `bonus` for each label.

    Returns:
        Up to `beam` hypotheses (and the greedy one), best first; labels differ.
    """

    def prior(labels: Labels, *, ended: bool) -> float:
        if language is None:
            return bonus * len(labels)
        return weight * language.score(labels, ended=ended) + bonus * len(labels)

    # Log-probability of a prefix, ending in a blank and in its last label.
    prefixes: dict[Labels, tuple[float, float]] = {(): (0.0, -inf)}
    for emission in log_probs:
        extended = _extend(prefixes, emission, classes)
        ranked = sorted(
            extended, key=lambda p: _log_add(*extended[p]) + prior(p, ended=False), reverse=True
        )
        prefixes = {prefix: extended[prefix] for prefix in ranked[:beam]}
    hypotheses = [
        Hypothesis(labels, log_probability(log_probs, labels) + prior(labels, ended=True))
        for labels in {*prefixes, greedy(log_probs)}
    ]
    return sorted(hypotheses, key=lambda hypothesis: (-hypothesis.score, hypothesis.labels))


def _extend(
    prefixes: dict[Labels, tuple[float, float]], emission: np.ndarray, classes: int
) -> dict[Labels, tuple[float, float]]:
    """All prefixes one step later."""
    extended: dict[Labels, tuple[float, float]] = {}

    def add(prefix: Labels, *, blank: float = -inf, label: float = -inf) -> None:
        if blank == label == -inf:
            return
        before = extended.get(prefix, (-inf, -inf))
        extended[prefix] = (_log_add(before[0], blank), _log_add(before[1], label))

    likely = np.argsort(-emission, kind="stable")[:classes].tolist()
    values = emission.tolist()
    for prefix, (in_blank, in_label) in prefixes.items():
        either = _log_add(in_blank, in_label)
        add(prefix, blank=either + values[BLANK])
        if prefix:
            add(prefix, label=in_label + values[prefix[-1]])
        for label in likely:
            if label != BLANK:
                before = in_blank if prefix[-1:] == (label,) else either
                add((*prefix, label), label=before + values[label])
    return extended


def _log_add(a: float, b: float) -> float:
    """`log(exp(a) + exp(b))`; numpy's is slow on single numbers."""
    high, low = max(a, b), min(a, b)
    return high if low == -inf else high + log1p(exp(low - high))


EDGE = 0  # the label of no word stands for the beginning and the end of a sentence


class LanguageModel:
    """A bigram model, P(label | previous label), smoothed by Witten and Bell, 1991, method C.

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
