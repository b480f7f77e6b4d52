"""Word error rate reports: two files of sentences aligned, as JSON values and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twostream.sequence.transcripts import Normaliser, read_transcripts
from twostream.sequence.word_error_rate import (
    Errors,
    Pair,
    align,
    bootstrap_interval,
    confusions,
    corpus_rate,
    count_errors,
    difference_interval,
    paired_test,
    sentence_mean,
    sum_errors,
)
from twostream_base.errors import InputError, some_of

SEED = 0  # the same files give the same interval
Alignments = dict[str, list[Pair]]


def align_files(reference: Path, hypothesis: Path, *, normalise: Normaliser) -> Alignments:
    """Align the sentences of two files, joined by name (text files: by line), both normalised.

    A ctm has no line for a sentence without a gloss: sentences that it lacks are empty.

    Raises:
        InputError: a sentence of one file is missing in the other, or no reference has a gloss.
    """
    expected, actual = read_transcripts(reference), read_transcripts(hypothesis)
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
        name: align(normalise(glosses), normalise(actual[name]))
        for name, glosses in expected.items()
    }
    if not any(word for pairs in alignments.values() for word, _ in pairs):
        raise InputError(f"{reference}: no sentence has a gloss, so there is no rate")
    return alignments


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
        "difference_interval": difference_interval(before, after, rng=np.random.default_rng(SEED)),
        "p": paired_test(before, after, rng=np.random.default_rng(SEED)),
    }


def wer_lines(result: Mapping[str, Any]) -> list[str]:
    """A result of `wer_result` as text; rates in percent of the reference words."""
    lines = rate_lines(result) + [
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
