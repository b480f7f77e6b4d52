"""Word error rate (WER): alignment, error counts, bootstrap intervals and a paired test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Pair = tuple[str | None, str | None]
DRAWS = 10_000  # of a bootstrap or a randomisation test

# An error costs this much and a gap 1 on top: fewest errors first, then fewest gaps.
ERROR = 1 << 20
GAP = ERROR + 1


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of one sentence, or the sums over several.

    Attributes:
        substitutions, deletions, insertions: of an alignment with the fewest errors, and among
            these the most substitutions. Their sum does not depend on that choice.
        words: of the reference.
    """

    substitutions: int
    deletions: int
    insertions: int
    words: int

    @property
    def total(self) -> int:
        """S + D + I."""
        return self.substitutions + self.deletions + self.insertions


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """Pair the words: `(word, None)` is a deletion, `(None, word)` an insertion.

    The alignment has the fewest errors, and among these the fewest deletions and insertions.
    """
    cost = [[GAP * h for h in range(len(hypothesis) + 1)]]  # of each pair of prefixes
    for expected in reference:
        above, row = cost[-1], [cost[-1][0] + GAP]
        for h, recognised in enumerate(hypothesis):
            unequal = 0 if expected == recognised else ERROR
            row.append(min(above[h] + unequal, above[h + 1] + GAP, row[h] + GAP))
        cost.append(row)

    pairs: list[Pair] = []
    r, h = len(reference), len(hypothesis)
    while r or h:
        word, other = reference[r - 1] if r else None, hypothesis[h - 1] if h else None
        if r and h and cost[r][h] == cost[r - 1][h - 1] + ERROR * (word != other):
            pairs.append((word, other))
            r, h = r - 1, h - 1
        elif r and cost[r][h] == cost[r - 1][h] + GAP:
            pairs.append((word, None))
            r -= 1
        else:
            pairs.append((None, other))
            h -= 1
    return pairs[::-1]


def count_errors(pairs: Sequence[Pair]) -> Errors:
    """S, D, I and the number of reference words of an alignment."""
    return Errors(
        substitutions=sum(None not in pair and pair[0] != pair[1] for pair in pairs),
        deletions=sum(hypothesis is None for _, hypothesis in pairs),
        insertions=sum(reference is None for reference, _ in pairs),
        words=sum(reference is not None for reference, _ in pairs),
    )


def sum_errors(sentences: Sequence[Errors]) -> Errors:
    """The errors of several sentences together."""
    return Errors(
        substitutions=sum(errors.substitutions for errors in sentences),
        deletions=sum(errors.deletions for errors in sentences),
        insertions=sum(errors.insertions for errors in sentences),
        words=sum(errors.words for errors in sentences),
    )


def corpus_rate(sentences: Sequence[Errors]) -> float:
    """All errors over all reference words, the usual word error rate; can exceed 1."""
    errors = sum_errors(sentences)
    return errors.total / errors.words


def sentence_mean(sentences: Sequence[Errors]) -> float:
    """Mean of the rates of the sentences, in which short and long ones weigh the same.

    Sentences whose reference is empty have no rate and are left out.
    """
    rates = [errors.total / errors.words for errors in sentences if errors.words]
    return sum(rates) / len(rates)


def confusions(alignments: Sequence[Sequence[Pair]]) -> Counter[Pair]:
    """How often each word was replaced by another, deleted (`word, None`) or inserted."""
    return Counter(pair for pairs in alignments for pair in pairs if pair[0] != pair[1])


def bootstrap_interval(
    sentences: Sequence[Errors], *, rng: np.random.Generator, draws: int = DRAWS
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the corpus rate; sentences are resampled.

    Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
    ICASSP 2004, section 3.
    """
    errors, words = _counts(sentences)
    return _bootstrap(errors, words, rng=rng, draws=draws)


def difference_interval(
    first: Sequence[Errors],
    second: Sequence[Errors],
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> tuple[float, float]:
    """95 % interval of the second corpus rate minus the first, on the same resampled sentences."""
    errors, words = _counts(first)
    difference = _counts(second)[0] - errors
    return _bootstrap(difference, words, rng=rng, draws=draws)


def paired_test(
    first: Sequence[Errors],
    second: Sequence[Errors],
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> float:
    """Two-sided p of "neither system makes more errors", both on the same sentences.

    Approximate randomisation: in each draw the two counts of every sentence are swapped at random;
    p = (1 + draws at least as unequal) / (1 + draws), so it is never 0.
    """
    difference = _counts(second)[0] - _counts(first)[0]
    difference = difference[difference != 0]
    signs = rng.integers(0, 2, size=(draws, len(difference)), dtype=np.int8) * np.int64(2) - 1
    at_least_as_unequal = np.abs(signs @ difference) >= abs(difference.sum())
    return float((1 + at_least_as_unequal.sum()) / (1 + draws))


def _counts(sentences: Sequence[Errors]) -> tuple[np.ndarray, np.ndarray]:
    errors = np.array([sentence.total for sentence in sentences], dtype=np.int64)
    return errors, np.array([sentence.words for sentence in sentences], dtype=np.int64)


def _bootstrap(
    errors: np.ndarray, words: np.ndarray, *, rng: np.random.Generator, draws: int
) -> tuple[float, float]:
    rates = []
    for _ in range(draws):
        sentences = rng.integers(0, len(words), size=len(words))
        if drawn_words := words[sentences].sum():  # empty references alone have no rate
            rates.append(errors[sentences].sum() / drawn_words)
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)
