from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twostream_base.errors import InputError, printable, some_of
from twostream_base.files import write_text
from twostream_base.text import (
    guarded,
    in_one_line,
    read_csv,
    read_numbered_csv,
    unguarded,
    write_csv,
)

FORMULAS = {
    "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\uff1d1": "'\uff1d1",
    "\t=1": "'\t'=1", "\r=1": "'\r'=1", "\n=1": "'\n'=1", "'=1": "''=1", "''@x": "'''@x",
}  # fmt: skip
PLAIN = ["", "'", "'quoted'", "a=b", "Biking/v_Biking_g01", "0.5", "\u00fcn\u00ef"]


@pytest.mark.parametrize(("cell", "expected"), FORMULAS.items())
def test_a_formula_begins_with_an_apostrophe(cell: str, expected: str) -> None:
    assert guarded(cell) == expected


@pytest.mark.parametrize(
    ("cell", "expected"), [("a;=1", "a;'=1"), ("a\r\n-1;+1", "a\r\n'-1;'+1"), ("a;'@x", "a;''@x")]
)
def test_so_does_one_behind_what_parts_cells_or_rows_elsewhere(cell: str, expected: str) -> None:
    assert guarded(cell) == expected


@pytest.mark.parametrize("cell", PLAIN)
def test_other_text_stands_as_it_is(cell: str) -> None:
    assert guarded(cell) == unguarded(cell) == cell


@given(st.text("'=+-@;\t\r\na|\uff0b", max_size=6))
def test_every_text_comes_back(cell: str) -> None:
    assert unguarded(guarded(cell)) == cell


def test_a_csv_comes_back(tmp_path: Path) -> None:
    names = [*FORMULAS, *PLAIN[1:], 'a "b", c', "a\r\nb", "a\rb", "a\u2028b", "x\x1b[31m"]
    write_csv(tmp_path / "a.csv", [("name", "number"), *((name, -0.5) for name in names)])
    assert read_csv(tmp_path / "a.csv") == [["name", "number"], *([n, "-0.5"] for n in names)]
    assert "\n'=1+1,-0.5\n" in (tmp_path / "a.csv").read_text()


def test_csv_of_others(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfname,group\r\n\r\n=a,"x\ny"\r\nb,-1')
    assert read_numbered_csv(path) == [
        (1, ["name", "group"]),
        (4, ["=a", "x\ny"]),
        (5, ["b", "-1"]),
    ]
    path.write_bytes(b'"a"b\n')
    with pytest.raises(InputError, match=r"a\.csv: not a CSV file"):
        read_csv(path)
    path.write_bytes(b"\xff\n")
    with pytest.raises(InputError, match=r"a\.csv: not UTF-8"):
        read_csv(path)


@pytest.mark.parametrize(
    "name", ["a\nb", "a\rb", "a\x1bb", "a\x85b", "a\u2028b", " a", "a ", "a\x00"]
)
def test_names_that_would_not_come_back_from_a_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"list\.txt: ") as caught:
        in_one_line(name, path=tmp_path / "list.txt")
    assert repr(name) in str(caught.value)


def test_names_that_come_back_from_a_line(tmp_path: Path) -> None:
    for name in ["=a", "a b", "a\u202fb", "\u65e5\u672c", "a\u200db", ""]:
        assert in_one_line(name, path=tmp_path) == name
    with pytest.raises(InputError, match=r"a\|b"):
        in_one_line("a|b", path=tmp_path, without="|")


def test_half_a_character(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.txt: .*\\ud800.* UTF-8"):
        write_text(tmp_path / "a.txt", "abc\ud800")


def test_nothing_acts_on_the_terminal() -> None:
    assert printable("\u00fcn\u00ef/v 1\\") == "\u00fcn\u00ef/v 1\\"
    assert printable("a\nb\x1b[2J\x9b\u202ec\ud800") == "a\\nb\\x1b[2J\\x9b\\u202ec\\ud800"
    assert some_of(["a\nb", 2]) == "a\\nb, 2"
    assert some_of(["caf\u00e9", "cafe\u0301"]) == "caf\u00e9, cafe\\u0301"
    assert some_of(["\u0915\u093f"]) == "\u0915\u093f"  # Hindi has no composed form
