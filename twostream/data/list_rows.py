"""What all readers of list files share: rows with their place, names, and the final checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from twostream.data.records import Split, VideoRecord
from twostream.errors import InputError
from twostream.files import read_text

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
