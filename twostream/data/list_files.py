"""List files of data sets: rows with their place for error messages, names, and final checks."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from twostream.data.records import Split, VideoRecord
from twostream_base.errors import InputError
from twostream_base.files import read_text

Listed = tuple[str, str, VideoRecord]  # where it stands (file:line), subset, record


def read_rows(path: Path, pattern: str, expected: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where each row of a list file stands ("file:line"), and its columns; blank lines aside.

    Args:
        pattern: regular expression of a whole row; its groups are the columns.
        expected: the same in words, for the message.
    """
    for number, line in enumerate(read_list(path).splitlines(), start=1):
        row = re.fullmatch(pattern, line.strip())
        if row:
            yield f"{path}:{number}", row.groups()
        elif line.strip():
            raise InputError(f"{path}:{number}: {line.strip()!r}; expected: {expected}")


def read_list(path: Path) -> str:
    """The text of a list file; its absence is explained."""
    if not path.is_file():
        raise InputError(f"{path}: no such list file; is --annotations the right folder?")
    return read_text(path)


def read_csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row of a CSV file with a header stands, and its columns, none of them empty."""
    reader = csv.DictReader(read_list(path).splitlines())
    absent = [column for column in columns if column not in (reader.fieldnames or [])]
    if absent:
        raise InputError(f"{path}:1: no column {absent[0]!r}; expected {', '.join(columns)}")
    for row in reader:
        where = f"{path}:{reader.line_num}"
        if not all(row[column] for column in columns):
            raise InputError(f"{where}: a column is empty; expected {', '.join(columns)}")
        yield where, row


def read_json(path: Path, kind: type) -> Any:
    """The list or dict that a JSON file holds."""
    try:
        content = json.loads(read_list(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    if not isinstance(content, kind):
        raise InputError(f"{path}: expected a JSON {'object' if kind is dict else 'list'}")
    return content


def read_classes(path: Path, pattern: str, expected: str) -> list[str]:
    """Read a file of class names, the last column of its rows; each stands there once."""
    names: list[str] = []
    for where, row in read_rows(path, pattern, expected):
        if row[-1] in names:
            raise InputError(f"{where}: the class {row[-1]!r} stands there twice")
        names.append(row[-1])
    return names


def video_name(listed: str, *, where: str) -> str:
    """Turn a listed path into a video name: suffix off, and refused if it leads elsewhere."""
    path = PurePosixPath(listed)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(
            f"{where}: {listed!r} leads out of the video folder; no '/' first, no '..'"
        )
    return str(path.with_suffix(""))


def make_split(class_names: Sequence[str], listed: Sequence[Listed], *, where: Path) -> Split:
    """Gather records into a split.

    Raises:
        InputError: a video stands there twice, or a list is empty.
    """
    first: dict[str, str] = {}
    subsets: dict[str, list[VideoRecord]] = {"train": [], "test": []}
    for line, subset, record in listed:
        if record.name in first:
            raise InputError(
                f"{line}: {record.name} is listed already, at {first[record.name]}; "
                "a video belongs once in either train or test"
            )
        first[record.name] = line
        subsets[subset].append(record)
    for subset, records in subsets.items():
        if not records:
            raise InputError(f"{where}: the {subset} list is empty")
    return Split(tuple(class_names), tuple(subsets["train"]), tuple(subsets["test"]))


def check_single_split(split: int, what: str) -> None:
    """Refuse another split than the first for a data set that has one."""
    if split != 1:
        raise InputError(f"split {split}: {what} has one split; give --split 1")


def first_existing(folder: Path, *names: str) -> Path:
    """The first of these files that is there; the first name of all where none is."""
    return next((folder / name for name in names if (folder / name).exists()), folder / names[0])


def file_ending_in(folder: Path, ending: str) -> Path:
    """The one file of a folder whose name ends so."""
    files = sorted(folder.glob(f"*{ending}"))
    if len(files) != 1:
        listed = ", ".join(path.name for path in files) or "none"
        raise InputError(f"{folder}: one file *{ending} is expected; there is {listed}")
    return files[0]
