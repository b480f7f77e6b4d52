from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion.exchange.formats.foreign_scores import ForeignScores
from fusion.exchange.importing import name_rows, read_order
from twostream_base.errors import InputError

ORDER = [("Archery/a", 1), ("Archery/b", 0)]


def foreign(names: tuple[str, ...] | None = None, labels: list[int] | None = None) -> ForeignScores:
    scores = np.array([[1, 2], [3, 4]], np.float32)[:, None, None]
    own = None if labels is None else np.array(labels)
    return ForeignScores(Path("preds.npz"), names, scores, own)


def test_rows_get_the_names_of_the_order() -> None:
    named = name_rows(foreign(labels=[1, 0]), ORDER)
    assert named.names == ("Archery/a", "Archery/b")
    assert named.labels is not None
    assert named.labels.tolist() == [1, 0]


def test_labels_come_from_the_order_where_the_file_has_none() -> None:
    named = name_rows(foreign(), [("a", 1), ("b", None)])
    assert named.labels is not None
    assert named.labels.tolist() == [1, -1]


def test_labels_that_contradict_the_order() -> None:
    message = r"1 labels contradict the order list: Archery/b \(0, in the file 1\).*--sort-order"
    with pytest.raises(InputError, match=message):
        name_rows(foreign(labels=[1, 1]), ORDER)


def test_another_number_of_rows() -> None:
    with pytest.raises(InputError, match="2 rows, but the order lists 1; is it the list of"):
        name_rows(foreign(), ORDER[:1])


def test_rows_that_have_names() -> None:
    with pytest.raises(InputError, match="holds video names; --order is for files without"):
        name_rows(foreign(("a", "b")), ORDER)


def test_an_order_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("b/v 2.avi 12 1\n\na/HammerThrow\na/Hammering.mp4 7\nclip_01 30 0\n")
    listed = [("b/v 2", 1), ("a/HammerThrow", None), ("a/Hammering", None), ("clip_01", 0)]
    assert read_order(path) == listed
    assert read_order(path, sort=True) == [listed[1], listed[2], listed[0], listed[3]]


def test_an_order_of_line_numbers(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("run/first.avi\nrun/second.avi\n")
    (tmp_path / "list.txt").write_text("run/2 30 1\nrun/1 40 1\n")
    read = read_order(tmp_path / "list.txt", numbered=tmp_path / "all.txt")
    assert read == [("run/second", 1), ("run/first", 1)]
    (tmp_path / "list.txt").write_text("run/3 30 1\n")
    with pytest.raises(InputError, match=r"all.txt: '3' is no line of it; it has 2"):
        read_order(tmp_path / "list.txt", numbered=tmp_path / "all.txt")


def test_an_empty_order_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n")
    with pytest.raises(InputError, match="list.txt: lists no videos"):
        read_order(path)
