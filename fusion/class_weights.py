"""Weights for each stream and class, as a CSV file: `class,spatial,motion` and a row a class."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from twostream.errors import InputError, some_of
from twostream.files import read_text, write_text


def read_class_weights(
    path: Path, *, keys: Sequence[str], class_names: Sequence[str]
) -> np.ndarray:
    """Weights (streams, classes) in the order of `keys` and `class_names`.

    Raises:
        InputError: other streams or classes than these, a class twice, or what is no number.
    """
    header, *rows = list(csv.reader(io.StringIO(read_text(path)))) or [[]]
    if sorted(header[1:]) != sorted(keys):
        expected = ",".join(["class", *keys])
        raise InputError(f"{path}: the first line is {','.join(header)!r}; expected {expected!r}")
    by_class = {row[0]: row[1:] for row in rows if row}
    odd = sorted(set(by_class) ^ set(class_names))
    if odd or len(by_class) != len([row for row in rows if row]):
        raise InputError(f"{path}: each class needs one row; look at {some_of(odd or [*by_class])}")
    order = [header[1:].index(key) for key in keys]
    try:
        table = [[float(by_class[name][place]) for name in class_names] for place in order]
    except (ValueError, IndexError):
        raise InputError(f"{path}: a weight that is missing or no number") from None
    return np.array(table)


def write_class_weights(
    path: Path, weights: np.ndarray, *, keys: Sequence[str], class_names: Sequence[str]
) -> None:
    """Write (streams, classes) weights as `read_class_weights` takes them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", *keys])
    writer.writerows(
        [name, *(f"{weight:.6g}" for weight in column)]
        for name, column in zip(class_names, weights.T, strict=True)
    )
    write_text(path, text.getvalue())
