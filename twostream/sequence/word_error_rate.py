"""Word error rate (WER): alignment, counts, bootstrap intervals, a paired test, and reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import eq
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from twostream.sequence.transcripts import Normaliser, read_references, read_transcripts
from twostream_base.errors import InputError, some_of

Word = TypeVar("Word")
Other = TypeVar("Other")
Pair = tuple[str | None, str | None]
DRAWS = 10_000  # of a bootstrap or a randomisation test


@dataclass(frozen=True, slots=True)
class Costs:
    """Of a substitution and of a gap (a deletion or an insertion), in the search for an alignment.

    The second number of each decides among alignments that cost the same by the first.
    """

    substitution: tuple[int, int]
    gap: tuple[int, int]


COSTS = {
    "equal": Costs((1, 0), (1, 1)),  # fewest errors, and among these the fewest gaps
    "sclite": Costs((4, 1), (3, 1)),  # NIST's weights, and among equal sums the fewest errors
}


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of one sentence, or the sums over several.

    Attributes:
        substitutions, deletions, insertions: of one alignment (`COSTS`). With equal costs their
            sum is the least there can be.
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


def align(
    reference: Sequence[Word],
    hypothesis: Sequence[Other],
    *,
    costs: Costs = COSTS["equal"],
    match: Callable[[Word, Other], bool] = eq,
) -> list[tuple[Word | None, Other | None]]:
    """Pair the words: `(word, None)` is a deletion, `(None, word)` an insertion.

    The alignment has the least cost: by default the fewest errors, and among these the fewest
    deletions and insertions. With `COSTS["sclite"]` it can have more errors than need be.

    Args:
        match: whether a word of the reference and one of the hypothesis are the same.
    """
    substitution = (costs.substitution[0] << 20) + costs.substitution[1]
    gap = (costs.gap[0] << 20) + costs.gap[1]
    cost = [[gap * h for h in range(len(hypothesis) + 1)]]  # of each pair of prefixes
    for expected in reference:
        above, row = cost[-1], [cost[-1][0] + gap]
        for h, recognised in enumerate(hypothesis):
            unequal = 0 if match(expected, recognised) else substitution
            row.append(min(above[h] + unequal, above[h + 1] + gap, row[h] + gap))
        cost.append(row)

    pairs: list[tuple[Word | None, Other | None]] = []
    r, h = len(reference), len(hypothesis)
    while r or h:
        if r and h:
            unequal = 0 if match(reference[r - 1], hypothesis[h - 1]) else substitution
            if cost[r][h] == cost[r - 1][h - 1] + unequal:
                r, h = r - 1, h - 1
                pairs.append((reference[r], hypothesis[h]))
                continue
        if r and cost[r][h] == cost[r - 1][h] + gap:
            r -= 1
            pairs.append((reference[r], None))
        else:
            h -= 1
            pairs.append((None, hypothesis[h]))
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
    sentences: Sequence[Errors],
    *,
    rng: np.random.Generator,
    minus: Sequence[Errors] = (),
    draws: int = DRAWS,
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the corpus rate; sentences are resampled.

    Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
    ICASSP 2004, section 3.

    Args:
        minus: another system on the same sentences: the interval is of the difference to its rate.
    """
    words = np.array([sentence.words for sentence in sentences], np.int64)
    errors = _totals(sentences) - (_totals(minus) if minus else 0)
    rates = []
    for _ in range(draws):
        drawn = rng.integers(0, len(words), size=len(words))
        if drawn_words := words[drawn].sum():  # empty references alone have no rate
            rates.append(errors[drawn].sum() / drawn_words)
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


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
    difference = _totals(second) - _totals(first)
    difference = difference[difference != 0]
    signs = rng.integers(0, 2, size=(draws, len(difference)), dtype=np.int8) * np.int64(2) - 1
    at_least_as_unequal = np.abs(signs @ difference) >= abs(difference.sum())
    return float((1 + at_least_as_unequal.sum()) / (1 + draws))


def _totals(sentences: Sequence[Errors]) -> np.ndarray:
    return np.array([sentence.total for sentence in sentences], np.int64)


SEED = 0  # the same files give the same interval
Alignments = dict[str, list[Pair]]


def align_files(
    reference: Path, hypothesis: Path, *, normalise: Normaliser, costs: Costs = COSTS["equal"]
) -> Alignments:
    """Align the sentences of two files, joined by name (text files: by line), both normalised.

    A ctm has no line for a sentence without a gloss: sentences that it lacks are empty. Of the
    alternatives of an stm reference the one that costs least is taken; sentences that it says are
    not to be counted are left out.

    Raises:
        InputError: a sentence of one file is missing in the other, or no reference has a gloss.
    """
    expected, actual = read_references(reference), read_transcripts(hypothesis)
    if hypothesis.suffix == ".ctm":
        actual = {name: [] for name in expected} | actual
    missing = [name for name in expected if name not in actual]
    extra = [name for name in actual if name not in expected]
    if missing or extra:
        raise InputError(
            f"{hypothesis} lacks {len(missing)} sentences of {reference} "
            f"({some_of(missing, limit=3)}) and has {len(extra)} others "
            f"({some_of(extra, limit=3)}); names, or the number of text lines, must be the same"
        )
    alignments = {
        name: min(
            (align(normalise(glosses), normalise(actual[name]), costs=costs) for glosses in right),
            key=lambda pairs: total_cost(pairs, costs),
        )
        for name, right in expected.items()
        if right
    }
    if not any(word for pairs in alignments.values() for word, _ in pairs):
        raise InputError(f"{reference}: no sentence has a gloss, so there is no rate")
    return alignments


def total_cost(pairs: Sequence[Pair], costs: Costs) -> tuple[int, int]:
    """What an alignment costs."""
    errors = count_errors(pairs)
    gaps = errors.deletions + errors.insertions
    first, second = (
        errors.substitutions * substitution + gaps * gap
        for substitution, gap in zip(costs.substitution, costs.gap, strict=True)
    )
    return first, second


def wer_result(
    alignments: Alignments, *, num_confusions: int, sentences: bool = False
) -> dict[str, Any]:
    """Rates, S, D, I, 95 % interval and the most frequent confusions, as JSON values.

    Args:
        sentences: the alignment of each sentence too, as pairs of reference and hypothesis.
    """
    counts = _count_errors(alignments)
    errors = sum_errors(counts)
    frequent = confusions(list(alignments.values())).most_common(num_confusions)
    result: dict[str, Any] = {
        "sentences": len(counts),
        "empty_references": sum(not sentence.words for sentence in counts),
        "words": errors.words,
        "errors": errors.total,
        "substitutions": errors.substitutions,
        "deletions": errors.deletions,
        "insertions": errors.insertions,
        "corpus_rate": corpus_rate(counts),
        "interval": bootstrap_interval(counts, rng=np.random.default_rng(SEED)),
        "sentence_mean": sentence_mean(counts),
        "confusions": [
            {"reference": word, "hypothesis": other, "count": count}
            for (word, other), count in frequent
        ],
    }
    return result | ({"alignments": alignments} if sentences else {})


def compare_systems(
    first: Alignments, second: Alignments, *, num_confusions: int
) -> dict[str, Any]:
    """The second system's result and its difference to the first: points, interval, p."""
    before, after = _count_errors(first), _count_errors(second)
    return wer_result(second, num_confusions=num_confusions) | {
        "difference": corpus_rate(after) - corpus_rate(before),
        "difference_interval": bootstrap_interval(
            after, minus=before, rng=np.random.default_rng(SEED)
        ),
        "p": paired_test(before, after, rng=np.random.default_rng(SEED)),
    }


def rates_by_signer(alignments: Alignments, signers: Mapping[str, str]) -> dict[str, Any]:
    """The result of each signer's sentences, where there are several, by name.

    Signers without a name, or without a gloss in their references, have no rate and are left out.
    """
    groups: dict[str, Alignments] = {}
    for name, pairs in alignments.items():
        if who := signers.get(name, ""):
            groups.setdefault(who, {})[name] = pairs
    rates = {
        who: wer_result(part, num_confusions=0)
        for who, part in sorted(groups.items())
        if sum_errors(_count_errors(part)).words
    }
    return rates if len(rates) > 1 else {}


def wer_lines(result: Mapping[str, Any]) -> list[str]:
    """A result of `wer_result` as text; rates in percent of the reference words."""
    lines = rate_lines(result)
    for who, part in result.get("signers", {}).items():
        low, high = (100 * bound for bound in part["interval"])
        lines.append(
            f"{who}: {100 * part['corpus_rate']:.2f} % [{low:.2f}, {high:.2f}], "
            f"{part['errors']:,} of {part['words']:,} words in {part['sentences']:,} sentences"
        )
    lines += [
        f"{item['count']:6}  {item['reference'] or '(inserted)'} -> "
        f"{item['hypothesis'] or '(deleted)'}"
        for item in result["confusions"]
    ]
    if other := result.get("against"):
        low, high = (100 * bound for bound in other["difference_interval"])
        lines += [
            "against:",
            *rate_lines(other),
            f"difference {100 * other['difference']:+.2f} points [{low:+.2f}, {high:+.2f}], "
            f"p = {other['p']:.4f}",
        ]
    for name, pairs in result.get("alignments", {}).items():
        lines += alignment_lines(name, pairs)
    return lines


def rate_lines(result: Mapping[str, Any]) -> list[str]:
    """The rates of a result, without confusions, as text."""
    words = result["words"]
    low, high = (100 * bound for bound in result["interval"])
    kinds = ("substitutions", "deletions", "insertions")
    lines = [
        f"word error rate {100 * result['corpus_rate']:.2f} % [{low:.2f}, {high:.2f}]: "
        f"{result['errors']:,} errors of {words:,} words in {result['sentences']:,} sentences",
        ", ".join(f"{k} {result[k]:,} ({100 * result[k] / words:.1f} %)" for k in kinds),
        f"mean over sentences {100 * result['sentence_mean']:.2f} %",
    ]
    if empty := result["empty_references"]:
        lines.append(f"{empty} references are empty and have no rate of their own")
    return lines


def alignment_lines(name: str, pairs: Sequence[Pair]) -> list[str]:
    """One sentence, reference above hypothesis; `*` stands for no word, S, D or I below each."""
    cells = []
    for word, other in pairs:
        error = "" if word == other else "I" if word is None else "D" if other is None else "S"
        cells.append((word or "*", other or "*", error))
    widths = [max(map(len, cell)) for cell in cells]
    rows = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*cells, strict=True)
    ]
    return [name, *(f"  {row}" for row in rows if row)]


def _count_errors(alignments: Alignments) -> list[Errors]:
    return [count_errors(pairs) for pairs in alignments.values()]
