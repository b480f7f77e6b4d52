from __future__ import annotations

import functools
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twostream.sequence.transcripts import NORMALISERS
from twostream.sequence.word_error_rate import (
    COSTS,
    Errors,
    align,
    align_files,
    alignment_lines,
    bootstrap_interval,
    compare_systems,
    confusions,
    corpus_rate,
    count_errors,
    paired_test,
    rate_lines,
    sentence_mean,
    sum_errors,
    total_cost,
    wer_result,
)

WORDS = st.lists(st.sampled_from("ABC"), max_size=7)


def slow_errors(reference: tuple[str, ...], hypothesis: tuple[str, ...]) -> int:
    """Levenshtein's distance by its recursive definition."""

    @functools.cache
    def distance(r: int, h: int) -> int:
        if not r or not h:
            return r + h
        return min(
            distance(r - 1, h) + 1,
            distance(r, h - 1) + 1,
            distance(r - 1, h - 1) + (reference[r - 1] != hypothesis[h - 1]),
        )

    return distance(len(reference), len(hypothesis))


@settings(max_examples=200)
@given(WORDS, WORDS)
def test_alignment(reference: list[str], hypothesis: list[str]) -> None:
    pairs = align(reference, hypothesis)
    assert [word for word, _ in pairs if word is not None] == reference
    assert [word for _, word in pairs if word is not None] == hypothesis
    errors = count_errors(pairs)
    assert errors.total == slow_errors(tuple(reference), tuple(hypothesis))
    assert errors.words == len(reference)
    assert errors.words - errors.deletions + errors.insertions == len(hypothesis)


def test_alignment_and_confusions() -> None:
    reference = ["MORGEN", "WETTER", "SONNE", "REGEN", "NORD"]
    hypothesis = ["MORGEN", "SONNE", "WOLKE", "NORD", "IX"]
    pairs = align(reference, hypothesis)
    assert pairs == [
        ("MORGEN", "MORGEN"), ("WETTER", None), ("SONNE", "SONNE"), ("REGEN", "WOLKE"),
        ("NORD", "NORD"), (None, "IX"),
    ]  # fmt: skip
    assert count_errors(pairs) == Errors(substitutions=1, deletions=1, insertions=1, words=5)
    assert confusions([pairs, pairs]) == {
        ("WETTER", None): 2, ("REGEN", "WOLKE"): 2, (None, "IX"): 2
    }  # fmt: skip


def test_fewest_gaps_among_equally_good_alignments() -> None:
    """A B -> B C is two errors as two substitutions, or as a deletion and an insertion."""
    assert align("AB", "BC") == [("A", "B"), ("B", "C")]


def test_weights_of_sclite() -> None:
    """A B -> B C costs 8 as two substitutions, 6 as two gaps; of equal costs the fewest errors."""
    pairs = align("AB", "BC", costs=COSTS["sclite"])
    assert pairs == [("A", None), ("B", "B"), (None, "C")]
    assert total_cost(pairs, COSTS["sclite"]) == (6, 2)
    assert count_errors(align("ABC", "CDE", costs=COSTS["sclite"])).total == 3  # not 4 gaps, 12 too


@settings(max_examples=100)
@given(WORDS, WORDS)
def test_an_alignment_costs_least(reference: list[str], hypothesis: list[str]) -> None:
    costs = COSTS["sclite"]

    @functools.cache
    def cost(r: int, h: int) -> tuple[int, int]:
        if not r or not h:
            return 3 * (r + h), r + h
        unequal = reference[r - 1] != hypothesis[h - 1]
        ways = [(cost(r - 1, h), 3, 1), (cost(r, h - 1), 3, 1),
                (cost(r - 1, h - 1), 4 * unequal, int(unequal))]  # fmt: skip
        return min((first + a, second + b) for (first, second), a, b in ways)

    pairs = align(reference, hypothesis, costs=costs)
    assert total_cost(pairs, costs) == cost(len(reference), len(hypothesis))


def test_two_definitions() -> None:
    sentences = [Errors(1, 0, 0, words=2), Errors(0, 0, 1, words=8), Errors(0, 0, 1, words=0)]
    assert corpus_rate(sentences) == 3 / 10
    assert sentence_mean(sentences) == (1 / 2 + 1 / 8) / 2
    assert sum_errors(sentences) == Errors(1, 0, 2, words=10)


def test_the_notes_best_run_adds_up() -> None:
    """SUB 13.1 + INS 3.3 + DEL 9.9 = 26.3, of 1,000 words in tenths of a percent."""
    assert sum_errors([Errors(131, 99, 33, words=1000)]).total / 10 == 26.3


@pytest.mark.parametrize(
    ("clean_up", "costs", "expected"),
    [
        ("none", "equal", Errors(1142, 1350, 151, words=6530)),  # 2643, as jiwer counts
        ("none", "sclite", Errors(1030, 1406, 207, words=6530)),
        ("phoenix2014", "equal", Errors(838, 1475, 111, words=6530)),  # 2424, 37.12 %
        ("phoenix2014-sentence", "equal", Errors(833, 1477, 109, words=6526)),
    ],
)
def test_published_hypotheses(
    shared_data: Path, clean_up: str, costs: str, expected: Errors
) -> None:
    folder = shared_data / "wer-phoenix14"
    aligned = align_files(
        folder / "ref_ctc.txt",
        folder / "hypo_ctc.txt",
        normalise=NORMALISERS[clean_up],
        costs=COSTS[costs],
    )
    sentences = [count_errors(pairs) for pairs in aligned.values()]
    assert (len(sentences), sum_errors(sentences)) == (629, expected)
    if clean_up == "none":
        assert corpus_rate(sentences) == pytest.approx(0.404747, abs=5e-7)
        assert sentence_mean(sentences) == pytest.approx(0.402971, abs=5e-7)


def test_equals_jiwer() -> None:
    jiwer = pytest.importorskip("jiwer")
    draw = random.Random(0)
    for _ in range(1000):
        reference, hypothesis = (draw.choices("ABCDE", k=draw.randint(1, 12)) for _ in range(2))
        expected = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
        errors = count_errors(align(reference, hypothesis))
        assert corpus_rate([errors]) == expected.wer
        assert errors.total == expected.substitutions + expected.deletions + expected.insertions


def sentences(errors: list[int], words: int = 10) -> list[Errors]:
    return [Errors(count, 0, 0, words=words) for count in errors]


def test_interval_is_that_of_a_mean() -> None:
    """Sentences of one length: the corpus rate is a mean, whose interval is known."""
    rng = np.random.default_rng(0)
    errors = rng.integers(0, 9, size=400)
    low, high = bootstrap_interval(sentences(errors.tolist()), rng=rng, draws=4000)
    half = 1.96 * errors.std() / np.sqrt(400) / 10
    assert (low, high) == pytest.approx(
        (errors.mean() / 10 - half, errors.mean() / 10 + half), abs=0.003
    )


def test_a_constant_difference_is_certain() -> None:
    first, second = sentences([3, 1, 4, 1, 5]), sentences([4, 2, 5, 2, 6])
    rng = np.random.default_rng(0)
    assert bootstrap_interval(second, minus=first, rng=rng, draws=50) == pytest.approx((0.1, 0.1))


def test_p_is_that_of_all_sign_changes() -> None:
    first, second = [3, 1, 4, 1, 5, 9, 2], [2, 1, 2, 1, 3, 6, 3]
    difference = np.array(second) - first
    sums = [abs((difference * signs).sum()) for signs in itertools.product((1, -1), repeat=7)]
    exact = np.mean([total >= abs(difference.sum()) for total in sums])
    rng = np.random.default_rng(0)
    p = paired_test(sentences(first), sentences(second), rng=rng, draws=20_000)
    assert p == pytest.approx(exact, abs=0.01)


def test_equal_systems() -> None:
    same = sentences([1, 2, 3])
    assert paired_test(same, same, rng=np.random.default_rng(0), draws=100) == 1


SENTENCES = {"a": align("ABC", "AXC"), "b": align("AB", "ABC"), "c": align("", "A")}


def test_result() -> None:
    result = wer_result(SENTENCES, num_confusions=2, sentences=True)
    counts = ("sentences", "empty_references", "words", "errors", "substitutions", "insertions")
    assert [result[key] for key in counts] == [3, 1, 5, 3, 1, 2]
    assert result["corpus_rate"] == 3 / 5
    assert result["sentence_mean"] == (1 / 3 + 1 / 2) / 2
    assert len(result["confusions"]) == 2
    assert result["alignments"] == SENTENCES
    assert "1 references" in rate_lines(result)[-1]


def test_compare() -> None:
    better = {
        name: align("AB", "AB") if name == "b" else pairs for name, pairs in SENTENCES.items()
    }
    result = compare_systems(SENTENCES, better, num_confusions=0)
    assert result["difference"] == pytest.approx(2 / 5 - 3 / 5)
    assert result["p"] > 0.4


def test_alignment_lines() -> None:
    pairs = [("MORGEN", "MORGEN"), ("WETTER", None), ("SUED", "IX"), (None, "REGEN")]
    assert alignment_lines("a", pairs) == [
        "a",
        "  MORGEN  WETTER  SUED  *",
        "  MORGEN  *       IX    REGEN",
        "          D       S     I",
    ]
