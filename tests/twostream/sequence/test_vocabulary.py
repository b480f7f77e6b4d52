from __future__ import annotations

from pathlib import Path

import pytest

from twostream.sequence.records import SequenceRecord
from twostream.sequence.vocabulary import (
    build_vocabulary,
    glosses_to_labels,
    labels_to_glosses,
    read_vocabulary,
    unknown_glosses,
)
from twostream_base.errors import InputError

RECORDS = [SequenceRecord("a", Path(), ("B", "A", "B")), SequenceRecord("b", Path(), ("C",))]


def test_labels_begin_after_the_blank() -> None:
    vocabulary = build_vocabulary(RECORDS, None)
    assert vocabulary == ("A", "B", "C")
    assert glosses_to_labels(("B", "X", "A"), vocabulary) == [2, 1]
    assert labels_to_glosses([2, 1], vocabulary) == ["B", "A"]
    assert unknown_glosses([SequenceRecord("c", Path(), ("A", "X"))], vocabulary) == ["X"]


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("signstate classlabel\nC 0\nB 1\nA 2\n")
    assert build_vocabulary(RECORDS, path) == ("C", "B", "A")
    path.write_text("A\nB\n")
    with pytest.raises(InputError, match="classes.txt .*: C$"):
        build_vocabulary(RECORDS, path)
    path.write_text("A\nA\n")
    with pytest.raises(InputError, match="classes.txt: .*: A$"):
        read_vocabulary(path)


def test_real_vocabulary(shared_data: Path) -> None:
    vocabulary = read_vocabulary(shared_data / "wer-phoenix14" / "newtrainingClasses.txt")
    assert (len(vocabulary), vocabulary[:2], vocabulary[-1]) == (1232, ("A", "AACHEN"), "si")
