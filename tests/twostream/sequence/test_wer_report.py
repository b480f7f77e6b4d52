from __future__ import annotations

import pytest

from twostream.sequence.wer_report import alignment_lines, compare_systems, rate_lines, wer_result
from twostream.sequence.word_error_rate import align

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
