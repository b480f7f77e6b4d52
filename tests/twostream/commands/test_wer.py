from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import click
import pytest
from click.testing import Result

from twostream.commands.wer import wer
from twostream.sequence.word_error_rate import COSTS


def write(**lines: str) -> None:
    for name, text in lines.items():
        Path(f"{name}.txt").write_text(text)


def test_text(twostream: Callable[..., Result]) -> None:
    write(ref="A B C\nD E\n", hyp="A X C\nE F\n")
    result = twostream("wer", "--reference", "ref.txt", "--hypothesis", "hyp.txt", "--alignments")
    lines = result.output.splitlines()
    assert lines[0].startswith("word error rate 60.00 % [")
    assert lines[0].endswith("3 errors of 5 words in 2 sentences")
    assert lines[1:3] == [
        "substitutions 3 (60.0 %), deletions 0 (0.0 %), insertions 0 (0.0 %)",
        "mean over sentences 66.67 %",
    ]
    assert "     1  B -> X" in lines
    assert lines[-8:-4] == ["line 1", "  A  B  C", "  A  X  C", "     S"]


def test_json_and_a_second_system(twostream: Callable[..., Result]) -> None:
    write(ref="A B C\n" * 20, hyp="A X C\n" * 20, better="A B C\n" * 19 + "A X C\n")
    files = ("--reference", "ref.txt", "--hypothesis", "hyp.txt", "--against", "better.txt")
    result = json.loads(twostream("wer", *files, "--json").output)
    assert result["corpus_rate"] == pytest.approx(1 / 3)
    assert result["sentence_mean"] == pytest.approx(1 / 3)
    assert result["confusions"] == [{"reference": "B", "hypothesis": "X", "count": 20}]
    assert result["against"]["difference"] == pytest.approx(1 / 60 - 1 / 3)
    assert result["against"]["p"] < 0.001
    assert "points [" in twostream("wer", *files).output


def test_rates_of_signers(twostream: Callable[..., Result]) -> None:
    heading = "id|folder|signer|annotation"
    Path("ref.csv").write_text(f"{heading}\na|a|Anna|A B\nb|b|Ben|C\nc|c|Anna|D E\n")
    Path("ref.stm").write_text(
        "".join(f"{name} 1 {who} 0.0 9 {glosses}\n" for name, who, glosses in
                (("a", "Anna", "A B"), ("b", "Ben", "C"), ("c", "Anna", "D E")))
    )  # fmt: skip
    Path("hyp.csv").write_text("name,glosses\na,A\nb,C\nc,D E F\n")
    for reference in ("ref.csv", "ref.stm"):
        files = ("--reference", reference, "--hypothesis", "hyp.csv")
        signers = json.loads(twostream("wer", *files, "--json").output)["signers"]
        assert {who: (part["errors"], part["words"]) for who, part in signers.items()} == {
            "Anna": (2, 4), "Ben": (0, 1),
        }  # fmt: skip
        assert "Anna: 50.00 % [" in twostream("wer", *files).output
    Path("one.csv").write_text(Path("ref.csv").read_text().replace("Ben", "Anna"))
    alone = twostream("wer", "--reference", "one.csv", "--hypothesis", "hyp.csv", "--json").output
    assert "signers" not in json.loads(alone)


def test_normaliser(twostream: Callable[..., Result]) -> None:
    write(ref="NORD\n", hyp="loc-NORD\n")
    files = ("--reference", "ref.txt", "--hypothesis", "hyp.txt")
    assert "rate 100.00 %" in twostream("wer", *files).output
    assert "rate 0.00 %" in twostream("wer", *files, "--normalise", "phoenix2014").output


def test_sentences_must_be_the_same(twostream: Callable[..., Result]) -> None:
    write(ref="A\nB\n", hyp="A\n", none="\n\n")
    done = twostream("wer", "--reference", "ref.txt", "--hypothesis", "hyp.txt", exit_code=2)
    assert "hyp.txt lacks 1 sentences of ref.txt (line 2) and has 0 others" in done.output
    done = twostream("wer", "--reference", "none.txt", "--hypothesis", "ref.txt", exit_code=2)
    assert "no sentence has a gloss" in done.output


def test_a_ctm_has_no_line_for_an_empty_sentence(twostream: Callable[..., Result]) -> None:
    Path("ref.stm").write_text("a 1 s 0 1 X\nb 1 s 0 1 Y\n")
    Path("hyp.ctm").write_text("a 1 0 1 X\n")
    done = twostream("wer", "--reference", "ref.stm", "--hypothesis", "hyp.ctm", "--json")
    assert json.loads(done.output)["deletions"] == 1


def test_alternatives_and_sentences_that_are_not_counted(twostream: Callable[..., Result]) -> None:
    Path("ref.stm").write_text("a 1 s 0 1 X { Y / Z }\nb 1 s 0 1 IGNORE_TIME_SEGMENT_IN_SCORING\n")
    Path("hyp.ctm").write_text("a 1 0 1 X\na 1 1 1 Z\nb 1 0 1 Q\n")
    done = twostream("wer", "--reference", "ref.stm", "--hypothesis", "hyp.ctm", "--json")
    result = json.loads(done.output)
    assert (result["sentences"], result["words"], result["errors"]) == (1, 2, 0)


def test_costs(twostream: Callable[..., Result]) -> None:
    assert cast(click.Choice[str], wer.params[4].type).choices == tuple(COSTS)
    write(ref="A B\n", hyp="B C\n")
    files = ("--reference", "ref.txt", "--hypothesis", "hyp.txt")
    assert json.loads(twostream("wer", *files, "--json").output)["substitutions"] == 2
    with_weights = twostream("wer", *files, "--json", "--costs", "sclite").output
    assert json.loads(with_weights)["substitutions"] == 0


def test_signers_without_a_rate(twostream: Callable[..., Result]) -> None:
    """One has no gloss in the references, one no name."""
    rows = ["a,Anna,A B", "b,Ben,C", "c,Cleo,", "d,,D"]
    files = ("--reference", "ref.csv", "--hypothesis", "hyp.csv", "--json")
    for present, signers in ((rows, ["Anna", "Ben"]), ([rows[0], *rows[2:]], [])):
        Path("ref.csv").write_text("\n".join(["name,signer,glosses", *present, ""]))
        Path("hyp.csv").write_text("\n".join(["name,glosses", *(f"{r[0]},A" for r in present), ""]))
        result = json.loads(twostream("wer", *files).output)
        assert list(result.get("signers", {})) == signers
