"""Word error rate: the fewest substitutions, deletions and insertions that explain a hypothesis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

Pair = tuple[str | None, str | None]

# One error counts this much and one gap 1 on top: fewest errors first, then fewest gaps.
ERROR = 1 << 20


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

    The alignment has the fewest errors, and of such ones the fewest deletions and insertions.
    """
    cost = _costs(reference, hypothesis)
    pairs: list[Pair] = []
    r, h = len(reference), len(hypothesis)
    while r or h:
        if (
            r
            and h
            and cost[r][h] == cost[r - 1][h - 1] + ERROR * (reference[r - 1] != hypothesis[h - 1])
        ):
            r, h = r - 1, h - 1
            pairs.append((reference[r], hypothesis[h]))
        elif r and cost[r][h] == cost[r - 1][h] + ERROR + 1:
            r -= 1
            pairs.append((reference[r], None))
        else:
            h -= 1
            pairs.append((None, hypothesis[h]))
    return pairs[::-1]


def count_errors(pairs: Sequence[Pair]) -> Errors:
    """S, D, I and the words of the reference, of an alignment."""
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
    """All errors over all words of the references, the usual word error rate; can exceed 1."""
    errors = sum_errors(sentences)
    return errors.total / errors.words


def sentence_mean(sentences: Sequence[Errors]) -> float:
    """Mean of the sentences' own rates, where a short sentence weighs as much as a long one.

    Sentences whose reference is empty have no rate and are left out.
    """
    rates = [errors.total / errors.words for errors in sentences if errors.words]
    return sum(rates) / len(rates)


def confusions(alignments: Sequence[Sequence[Pair]]) -> Counter[Pair]:
    """How often each word was taken for another, was missed (`None` after it), or was made up."""
    return Counter(pair for pairs in alignments for pair in pairs if pair[0] != pair[1])


def _unlike(word: str, other: str) -> int:
    return 0 if word == other else ERROR


def _costs(reference: Sequence[str], hypothesis: Sequence[str]) -> list[list[int]]:
    gap = ERROR + 1
    cost = [[gap * h for h in range(len(hypothesis) + 1)]]
    for word in reference:
        above, row = cost[-1], [cost[-1][0] + gap]
        for h, other in enumerate(hypothesis):
            row.append(min(above[h] + _unlike(word, other), above[h + 1] + gap, row[h] + gap))
        cost.append(row)
    return cost
