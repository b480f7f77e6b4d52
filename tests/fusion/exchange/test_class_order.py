from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.exchange.importing import (
    columns_by_labels,
    columns_by_name,
    read_class_names,
)
from twostream_base.errors import InputError


@given(order=st.permutations(range(6)))
def test_both_ways_find_any_order(order: list[int]) -> None:
    listed = np.arange(6)
    own = np.argsort(order)  # what we call class order[i] they call i
    names = "abcdef"
    theirs = [names[index] for index in order]
    columns = columns_by_name(theirs, list(names.upper()), path=Path("f"))
    assert [theirs[column] for column in columns] == list(names)
    assert columns_by_labels(own, listed, classes=6) == columns


@pytest.mark.parametrize(
    ("own", "listed", "columns"),
    [
        ([0, 2, 1], [0, 1, 2], [0, 2, 1]),
        ([0, 0, 1], [0, 1, 2], None),  # two of ours are one of theirs
        ([0, 1, 2], [0, 0, 1], None),  # two of theirs are one of ours
        ([1, -1], [0, 1], None),  # a class without videos would have to move
        ([-1, 1], [0, 1], [0, 1, 2]),
    ],
)
def test_what_labels_tell(own: list[int], listed: list[int], columns: list[int] | None) -> None:
    assert columns_by_labels(np.array(own), np.array(listed), classes=3) == columns


def test_class_names_with_and_without_numbers(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("1 Archery\n2 Bowling\n")
    assert read_class_names(path) == ("Archery", "Bowling")
    path.write_text("3 point shot\nabseiling\n")
    assert read_class_names(path) == ("3 point shot", "abseiling")
    path.write_text("")
    with pytest.raises(InputError, match=r"classes.txt: names no classes"):
        read_class_names(path)
