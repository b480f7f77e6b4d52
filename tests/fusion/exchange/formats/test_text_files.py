from __future__ import annotations

from pathlib import Path

import pytest

from fusion.exchange.formats.text_files import read_gluoncv_text, read_score_csv
from twostream_base.errors import InputError

FIRST = """50.0, 100.0
a/b c.mp4 [1.0, 2.0] 1 0 0
a/b c.mp4 [3.0, -4e-1] 1 0 1
v2 [5.0, 6.0] 0 1 0
"""
SECOND = """0.0, 50.0

v2 [7.0, 8.0] 0 1 1
v2 [9.0, 10.0] 0 0 0
v2 [11.0, 12.0] 0 0 1
a/b c.mp4 [13, 14] 1 1 0
a/b c.mp4 [15, 16] 1 1 1
v2 [5.0, 6.0] 0 1 0
"""


def read(folder: Path, text: str) -> object:
    (folder / "0.txt").write_text(text)
    return read_gluoncv_text(folder / "0.txt")


def test_views_of_joined_files_find_their_places(tmp_path: Path) -> None:
    (tmp_path / "0.txt").write_text(FIRST + SECOND)
    foreign = read_gluoncv_text(tmp_path / "0.txt")
    assert foreign.names == ("a/b c.mp4", "v2")
    assert foreign.labels is not None
    assert foreign.labels.tolist() == [1, 0]
    first = [[[1, 2], [3, pytest.approx(-0.4)]], [[13, 14], [15, 16]]]
    assert foreign.scores[0].tolist() == first
    assert foreign.scores[1].tolist() == [[[9, 10], [11, 12]], [[5, 6], [7, 8]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FIRST, r"2 chunks and 2 crops, but not all of them for a/b c.mp4, v2; are the files"),
        ("v [1, 2] 0 0 0\nv [1, 2] 0 1 1\n", "not all of them for any video"),
        ("v [1, 2] 0 0\n", r"line 1: expected `name \[scores\] label chunk crop`"),
        ("v [1, x] 0 0 0\n", "line 1: expected"),
        ("v [1, 2] 0 0 0\nv [1, 2] 1 0 0\n", "line 2: v has labels 0 and 1"),
        ("v [1, 2] 0 0 0\nv [1, 2, 3] 0 0 1\n", "0.txt: v: its views have different numbers"),
        ("v [1, 2] 0 0 0\nw [1, 2, 3] 0 0 0\n", r"w has scores of shape \(1, 1, 3\)"),
        ("", "holds no videos"),
    ],
)
def test_other_texts(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def save(folder: Path, text: str) -> Path:
    (folder / "a.csv").write_text(text)
    return folder / "a.csv"


def test_a_table_with_labels(tmp_path: Path) -> None:
    text = 'name,label,"sit, down",run\n"a, b",run,1,2.5\nc,0,-1e-3,4\nd,,5,6\n'
    foreign = read_score_csv(save(tmp_path, text))
    assert foreign.names == ("a, b", "c", "d")
    assert foreign.class_names == ("sit, down", "run")
    assert foreign.labels is not None
    assert foreign.labels.tolist() == [1, 0, -1]
    assert foreign.scores[:, 0, 0].tolist() == [[1, 2.5], [pytest.approx(-1e-3), 4], [5, 6]]


def test_a_table_without_labels(tmp_path: Path) -> None:
    foreign = read_score_csv(save(tmp_path, "name,x,y\na,1,2\n"))
    assert foreign.labels is None
    assert foreign.class_names == ("x", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must be"),
        ("video,x,y\na,1,2\n", "the first line must be"),
        ("name,label\na,1\n", "the first line must be"),
        ("name,x,y\na,1\n", "line 2: 2 cells; the heading has 3"),
        ("name,x,y\n\n\na,1,2\nb,1\n", "line 5: 2 cells"),
        ("name,x,y\na,1,two\n", "line 2: could not convert string to float: 'two'"),
        ("name,label,x,y\na,2,1,2\n", "label '2' is neither a class of the heading nor"),
        ("name,x,y\n", "holds no videos"),
        ('name,x,y\n"a,1,2\n', "not a CSV file that can be read"),
    ],
)
def test_other_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"a.csv: .*{message}"):
        read_score_csv(save(tmp_path, text))
