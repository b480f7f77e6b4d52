from __future__ import annotations

from pathlib import Path

import pytest

from twostream.sequence.transcripts import read_transcripts
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
