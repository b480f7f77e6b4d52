from __future__ import annotations

from pathlib import Path

import pytest

from fusion.exchange.formats.score_csv import read_score_csv
from twostream_base.errors import InputError


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
        ("name,x,y\na,1,two\n", "line 2: could not convert string to float: 'two'"),
        ("name,label,x,y\na,2,1,2\n", "label '2' is neither a class of the heading nor"),
        ("name,x,y\n", "holds no videos"),
        ('name,x,y\n"a,1,2\n', "not a CSV file that can be read"),
    ],
)
def test_other_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"a.csv: .*{message}"):
        read_score_csv(save(tmp_path, text))
