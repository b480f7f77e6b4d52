"""Readers of data sets with one official split, tested on their validation lists.

The labels of their test lists were never published."""

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

SUBSETS = ("train", "test")


def read_kinetics(annotations: Path, *, split: int) -> Split:
    """Read `train.csv` and `validate.csv` (or `val.csv`) of Kinetics (Kay et al., 2017).

    Their columns are label, youtube_id, time_start, time_end, split. A video lies at
    `<label>/<youtube_id>_<start>_<end>`, times with six digits; its group is the source video.
    Classes are numbered alphabetically.
    """
    _only_split_1(split, "Kinetics")
    files = (annotations / "train.csv", _first_of(annotations, "validate.csv", "val.csv"))
    columns = ("label", "youtube_id", "time_start", "time_end")
    rows = [
        (subset, *row)
        for subset, file in zip(SUBSETS, files, strict=True)
        for row in _csv_rows(file, columns)
    ]
    class_names = sorted({row["label"] for _, _, row in rows})
    labels = {name: label for label, name in enumerate(class_names)}
    listed: list[Listed] = []
    for subset, where, row in rows:
        start, end = (_seconds(row[key], where=where) for key in ("time_start", "time_end"))
        path = f"{row['label']}/{row['youtube_id']}_{start:06d}_{end:06d}.mp4"
        name = video_name(path, where=where)
        listed.append((where, subset, VideoRecord(name, labels[row["label"]], row["youtube_id"])))
    return make_split(class_names, listed, where=annotations)


def read_something(annotations: Path, *, split: int) -> Split:
    """Read Something-Something's JSON (Goyal et al., ICCV 2017): labels, train, validation.

    File names end in `labels.json`, `train.json` and `validation.json`, whatever stands before.
    A video is its id; each is filmed for itself, so each is a group.
    """
    _only_split_1(split, "Something-Something")
    numbered = _json(_ending(annotations, "labels.json"), dict)
    class_names = sorted(numbered, key=lambda name: int(numbered[name]))
    labels = {name: label for label, name in enumerate(class_names)}
    listed: list[Listed] = []
    for subset, ending in zip(SUBSETS, ("train.json", "validation.json"), strict=True):
        path = _ending(annotations, ending)
        for number, video in enumerate(_json(path, list), start=1):
            where = f"{path}, video {number}"
            # Templates mark what is filled in, as "Pushing [something]"; labels do not.
            template = re.sub(r"[\[\]]", "", str(video.get("template", "")))
            label = _label(template, labels, where=where)
            name = video_name(str(video.get("id", "")), where=where)
            listed.append((where, subset, VideoRecord(name, label, group=name)))
    return make_split(class_names, listed, where=annotations)


def read_jester(annotations: Path, *, split: int) -> Split:
    """Read Jester's CSV (Materzynska et al., 2019): labels one a line, then `id;label`.

    File names end in `labels.csv`, `train.csv` and `validation.csv`. A video is its id.
    """
    _only_split_1(split, "Jester")
    class_names = read_classes(_ending(annotations, "labels.csv"), r"(.+)", "a class")
    labels = {name: label for label, name in enumerate(class_names)}
    listed: list[Listed] = []
    for subset, ending in zip(SUBSETS, ("train.csv", "validation.csv"), strict=True):
        for where, (video, name) in read_rows(
            _ending(annotations, ending), r"([^;]+);([^;]+)", "id;label"
        ):
            record = VideoRecord(video, _label(name, labels, where=where), group=video)
            listed.append((where, subset, record))
    return make_split(class_names, listed, where=annotations)


def read_path_lists(annotations: Path, *, split: int) -> Split:
    """Read `train.txt` and `test.txt` (or `val.txt`) with `path [frames] label`, labels from 0.

    So TSN and mmaction2 write them. Class names come from `classes.txt`, one a line; without it
    they are the numbers. Each video is a group of its own.
    """
    _only_split_1(split, "a pair of path lists")
    files = (annotations / "train.txt", _first_of(annotations, "test.txt", "val.txt"))
    columns = "path, perhaps the number of frames, label"
    rows = [
        (subset, where, video, int(label))
        for subset, file in zip(SUBSETS, files, strict=True)
        for where, (video, label) in read_rows(file, r"(.+?)(?:\s+\d+)?\s+(\d+)", columns)
    ]
    highest = max((row[3] for row in rows), default=0)
    names_file = annotations / "classes.txt"
    if names_file.exists():
        class_names = read_classes(names_file, r"(.+)", "a class")
    else:
        class_names = [str(label) for label in range(highest + 1)]
    listed: list[Listed] = []
    for subset, where, video, label in rows:
        if label >= len(class_names):
            raise InputError(f"{where}: label {label}; {names_file} has {len(class_names)} classes "
                             "and labels count from 0")  # fmt: skip
        name = video_name(video, where=where)
        listed.append((where, subset, VideoRecord(name, label, group=name)))
    if all(label for _, _, _, label in rows):
        raise InputError(f"{annotations}: no video has label 0; labels in these lists count from 0")
    return make_split(class_names, listed, where=annotations)


def _only_split_1(split: int, what: str) -> None:
    if split != 1:
        raise InputError(f"split {split}: {what} has one split; give --split 1")


def _first_of(folder: Path, *names: str) -> Path:
    return next((folder / name for name in names if (folder / name).exists()), folder / names[0])


def _ending(folder: Path, ending: str) -> Path:
    found = sorted(folder.glob(f"*{ending}"))
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise InputError(f"{folder}: one file *{ending} is expected; there is {listed}")
    return found[0]


def _csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    reader = csv.DictReader(read_list(path).splitlines())
    absent = [column for column in columns if column not in (reader.fieldnames or [])]
    if absent:
        raise InputError(f"{path}:1: no column {absent[0]!r}; expected {', '.join(columns)}")
    for row in reader:
        where = f"{path}:{reader.line_num}"
        if not all(row[column] for column in columns):
            raise InputError(f"{where}: a column is empty; expected {', '.join(columns)}")
        yield where, row


def _json(path: Path, kind: type) -> Any:
    try:
        content = json.loads(read_list(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    if not isinstance(content, kind):
        raise InputError(f"{path}: expected a JSON {'object' if kind is dict else 'list'}")
    return content


def _seconds(text: str, *, where: str) -> int:
    try:
        return int(float(text))
    except ValueError:
        raise InputError(f"{where}: {text!r} is not a time in seconds") from None


def _label(name: str, labels: dict[str, int], *, where: str) -> int:
    if name not in labels:
        raise InputError(
            f"{where}: {name!r} is none of the {len(labels)} classes of the labels file"
        )
    return labels[name]


# What all readers of list files share: rows with their place, names, and the final checks.
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
