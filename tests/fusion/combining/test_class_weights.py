from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion.combining.step_options import read_class_weights, write_class_weights
from twostream_base.errors import InputError

KEYS, CLASSES = ["spatial", "motion"], ["a,b", "c"]


def test_written_and_read_again_by_name(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    write_class_weights(path, np.array([[1, 0.25], [0, 3]]), keys=KEYS, class_names=CLASSES)
    assert path.read_text() == 'class,spatial,motion\n"a,b",1,0\nc,0.25,3\n'
    read = read_class_weights(path, keys=KEYS[::-1], class_names=CLASSES[::-1])
    assert read.tolist() == [[3, 0], [0.25, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line is ''; expected 'class,spatial,motion'"),
        ("class,rgb,motion\n", "expected 'class,spatial,motion'"),
        ('class,spatial,motion\n"a,b",1,1\n', "each class needs one row; look at c"),
        ('class,spatial,motion\n"a,b",1,1\nc,1,1\nc,1,1\n', "each class needs one row"),
        ('class,spatial,motion\n"a,b",1,x\nc,1,1\n', "missing or no number"),
        ('class,spatial,motion\n"a,b",1\nc,1,1\n', "missing or no number"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "w.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_class_weights(path, keys=KEYS, class_names=CLASSES)
