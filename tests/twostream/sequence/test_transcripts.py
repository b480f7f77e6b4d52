from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from twostream.sequence.transcripts import (
    NORMALISERS,
    normalise_phoenix2014,
    normalise_phoenix2014_sentence,
    normalise_phoenix2014t,
    read_references,
    read_transcripts,
    write_transcripts,
)
from twostream_base.errors import InputError

SENTENCES = {"a/1": ["MORGEN", "REGEN"], "a/2": ["SONNE"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("2014.csv", "id|folder|signer|annotation\na/1|a/1/*.png|Signer01|MORGEN REGEN\n"
                     "a/2|a/2/*.png|Signer02|SONNE\n"),
        ("2014t.csv", "name|video|start|end|speaker|orth|translation\n"
                      'a/1|a/1/*.png|-1|-1|Signer01|MORGEN REGEN|morgen "regen\n'
                      "a/2|a/2/*.png|-1|-1|Signer02|SONNE|sonne\n"),
        ("own.csv", 'name,glosses\na/1,MORGEN REGEN\n"a/2",SONNE\n'),
        ("truth.stm", ";; a comment\na/1 1 signer01 0.0 1.79769e+308 MORGEN REGEN\n"
                      "a/2 1 signer02 0.0 1.79769e+308 <o,f0> SONNE\n"),
        ("found.ctm", "a/1 1 0.50 0.1 REGEN 0.9\na/1 1 0.00 0.1 MORGEN 0.8\na/2 1 0 0.1 SONNE\n"),
    ],
)  # fmt: skip
def test_formats(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_transcripts(tmp_path / name) == SENTENCES


def test_lines_are_named_by_their_number(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("MORGEN  REGEN\n\nSONNE\n")
    expected = {"line 1": ["MORGEN", "REGEN"], "line 2": [], "line 3": ["SONNE"]}
    assert read_transcripts(tmp_path / "a.txt") == expected


def test_empty_ctm_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.ctm").write_text("a 1 0.0 0.1 [EMPTY]\n")
    assert read_transcripts(tmp_path / "a.ctm") == {"a": []}


def test_written(tmp_path: Path) -> None:
    sentences = {"a": ["A", "B"], "b": []}
    expected = {
        "s.csv": ["name|glosses", "a|A B", "b|"],
        "s.ctm": ["a 1 0.00 1.00 A", "a 1 1.00 1.00 B", "b 1 0.00 1.00 [EMPTY]"],
    }
    for name, lines in expected.items():
        write_transcripts(tmp_path / name, sentences)
        assert (tmp_path / name).read_text() == "\n".join([*lines, ""])
        assert read_transcripts(tmp_path / name) == sentences
    with pytest.raises(InputError, match=r"s.doc: .*\.csv or \.ctm"):
        write_transcripts(tmp_path / "s.doc", sentences)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.md", "A", "a.md: .*.txt, .csv, .stm, .ctm"),
        ("a.txt", "", "a.txt: "),
        ("a.csv", "", "a.csv: "),
        ("a.csv", "name,glosses\na,A,B\n", "a.csv, line 2: .*name, glosses"),
        ("a.csv", "name,glosses\na\n", "a.csv, line 2: .*name, glosses"),
        ("a.csv", "name,text\na,A\n", "a.csv: .*annotation, orth, glosses; it has name, text"),
        ("a.csv", "name,glosses\na,A\na,B\n", "a.csv: .*: a$"),
        ("a.stm", "a 1 signer\n", "a.stm: .*5 columns.*a 1 signer"),
        ("a.ctm", "a 1 soon 0.1 A\n", "a.ctm: .*soon.*third column"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_transcripts(tmp_path / name)


OF_ONE_GLOSS = [  # before and after
    ("loc-NORD cl-KOMMEN qu-WAS poss-ICH lh-REGEN", "NORD KOMMEN WAS ICH REGEN"),
    ("__ON__ __EMOTION__ S0NNE __PU__ HABEN2 __LEFTHAND__ __EPENTHESIS__ __OFF__",
     "__ON__ SONNE HABEN __OFF__"),
    ("ZEIGEN MORGEN ZEIGEN", "ZEIGEN-BILDSCHIRM MORGEN ZEIGEN-BILDSCHIRM"),
    ("ZEIGEN-BILDSCHIRM ZEIGEN-PLUSPLUS", "ZEIGEN-BILDSCHIRM ZEIGEN"),
    ("ALPENRAUM ARAUM RAUM", "ALPEN ARAUM RAUM"),
    ("NICHT-VIEL NICHT-VIEL __ON__ __ON__", "NICHT-VIEL NICHT-VIEL __ON__ __ON__"),
    ("loc- REGEN", "REGEN"),
    ("", ""),
]  # fmt: skip
OF_NEIGHBOURS = [
    ("JETZT WIE AUSSEHEN MORGEN", "JETZT WIE-AUSSEHEN MORGEN"),
    ("K R E I S", "K+R+E+I+S"),
    ("NORD A B SUED", "NORD A+B SUED"),
    ("SCH N EE", "SCH+N EE"),
    ("T A NN E", "T+A+NN+E"),
    ("K+R E", "K+R+E"),
    ("REGEN-PLUSPLUS REGEN", "REGEN"),
    ("SONNE SONNE SONNE REGEN SONNE", "SONNE REGEN SONNE"),
]


@pytest.mark.parametrize(("before", "after"), OF_ONE_GLOSS)
def test_phoenix2014(before: str, after: str) -> None:
    assert normalise_phoenix2014(before.split()) == after.split()
    assert normalise_phoenix2014_sentence(before.split()) == after.split()


@pytest.mark.parametrize(("before", "after"), OF_NEIGHBOURS)
def test_rules_for_neighbours_act_in_whole_sentences_only(before: str, after: str) -> None:
    assert normalise_phoenix2014_sentence(before.split()) == after.split()
    assert len(normalise_phoenix2014(before.split())) == len(before.split())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("__ON__ loc-NORD cl-KOMMEN REGEN-PLUSPLUS __LEFTHAND__", "NORD KOMMEN REGEN"),
        ("NICHT-VIEL NICHT-VIEL IX IX", "NICHT-VIEL IX"),
        ("ALPENRAUM RAUM poss-ICH", "ALPEN RAUM poss-ICH"),
    ],
)
def test_phoenix2014t(before: str, after: str) -> None:
    assert normalise_phoenix2014t(before.split()) == after.split()


def test_official_references_are_clean(shared_data: Path) -> None:
    """The official evaluation cleans the hypothesis alone; ours both sides, with the same result.

    Rules for whole sentences would change one reference, in which a gloss is signed twice.
    """
    folder = shared_data / "wer-phoenix14"
    references = read_transcripts(folder / "phoenix2014-groundtruth-dev.stm")
    assert len(references) == 540
    assert read_transcripts(folder / "dev.corpus.csv") == references
    assert all(normalise_phoenix2014(words) == words for words in references.values())
    changed = [g for g in references.values() if normalise_phoenix2014_sentence(g) != g]
    assert len(changed) == 1
    assert any(gloss == following for gloss, following in pairwise(changed[0]))


def test_alternatives_of_an_stm(tmp_path: Path) -> None:
    path = tmp_path / "a.stm"
    path.write_text(
        "a 1 s 0 1 <o> A { B / C D / @ } { E / F }\n"
        "b 1 s 0 1 ignore_time_segment_in_scoring\n"
        "c 1 s 0 1 A/B @\n"
        "d 1 s 0 1 <o>\n"
    )
    assert read_references(path) == {
        "a": [["A", "B", "E"], ["A", "B", "F"], ["A", "C", "D", "E"], ["A", "C", "D", "F"],
              ["A", "E"], ["A", "F"]],
        "b": [], "c": [["A/B", "@"]], "d": [[]],
    }  # fmt: skip
    with pytest.raises(InputError, match=r"a\.stm: .*alternatives|a\.stm: .* in a, b"):
        read_transcripts(path)


@pytest.mark.parametrize("glosses", ["{ A", "A }", "{ A / { B } }", " ".join(["{ A / B }"] * 10)])
def test_alternatives_that_cannot_be(tmp_path: Path, glosses: str) -> None:
    (tmp_path / "a.stm").write_text(f"name 1 s 0 1 {glosses}\n")
    with pytest.raises(InputError, match=r"a\.stm: name: .*(\{ a / b \}|1,024 sent.*1,000)"):
        read_references(tmp_path / "a.stm")


def test_names() -> None:
    assert list(NORMALISERS) == ["none", "phoenix2014", "phoenix2014-sentence", "phoenix2014t"]
    assert NORMALISERS["none"](["loc-A", "loc-A"]) == ["loc-A", "loc-A"]
