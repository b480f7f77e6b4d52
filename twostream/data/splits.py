"""The official lists of each data set, read into records; one reader a data set.

A reader is `(annotations: folder, *, split: int) -> Split`. What it reads is checked line by line:
an unknown class, a doubled video, a video in both train and test end with file and line.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

from twostream.data.list_files import (
    Listed,
    make_split,
    read_classes,
    read_jester,
    read_kinetics,
    read_path_lists,
    read_rows,
    read_something,
    video_name,
)
from twostream.data.records import Split, VideoRecord
from twostream_base import plugins
from twostream_base.errors import InputError
from twostream_base.files import read_text
from twostream_base.video_names import hmdb51_group, ucf101_group

SPLITS = (1, 2, 3)
HMDB51_MARKS = {"1": "train", "2": "test"}  # 0: in neither


def read_ucf101(annotations: Path, *, split: int) -> Split:
    """Read `classInd.txt`, `trainlist0K.txt` and `testlist0K.txt` (Soomro et al., 2012).

    The group is the scene, see `ucf101_group`; a video of another name is a group of its own.
    """
    return _read_class_lists(annotations, split=split, group_of=ucf101_group)


def read_folder(annotations: Path, *, split: int) -> Split:
    """Read a data set of one's own: UCF101's list files, and groups from `groups.csv` if there.

    `groups.csv` has the lines `name,group`. A video without a group is a group of its own.
    """
    groups = _read_groups(annotations / "groups.csv")
    return _read_class_lists(annotations, split=split, group_of=groups.get)


def read_hmdb51(annotations: Path, *, split: int) -> Split:
    """Read the 51 files `<class>_test_split<K>.txt`: video, then 1 train, 2 test or 0 unused.

    Classes are numbered alphabetically, as the field does. The group is the film, see
    `hmdb51_group`; a video of another name is a group of its own.
    """
    ending = f"_test_split{split}.txt"
    class_names = sorted(file.name.removesuffix(ending) for file in annotations.glob(f"*{ending}"))
    if not class_names:
        raise InputError(f"{annotations}: no file *{ending}; HMDB51 has one for each class")
    listed: list[Listed] = []
    for label, class_name in enumerate(class_names):
        file = annotations / f"{class_name}{ending}"
        for where, (video, mark) in read_rows(file, r"(.+?)\s+([012])", "video, then 0, 1 or 2"):
            if mark in HMDB51_MARKS:
                name = video_name(f"{class_name}/{video}", where=where)
                group = hmdb51_group(name) or name
                listed.append((where, HMDB51_MARKS[mark], VideoRecord(name, label, group)))
    return make_split(class_names, listed, where=annotations)


DATASETS: dict[str, Callable[..., Split]] = {
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
    "folder": read_folder,
    "toy": read_ucf101,
    "kinetics": read_kinetics,
    "something": read_something,
    "jester": read_jester,
    "path-lists": read_path_lists,
}


def read_split(
    dataset: str | Callable[..., Split], annotations: str | os.PathLike[str], *, split: int = 1
) -> Split:
    """Read an official split of a data set.

        split = read_split("ucf101", "ucfTrainTestlist", split=1)
        split.class_names[0], len(split.train), len(split.test)     # ApplyEyeMakeup 9537 3783

    Args:
        dataset: key of DATASETS, `module:function`, or such a reader itself.
        annotations: folder of the list files.

    Raises:
        InputError: a list is absent or wrong; file and line are named.
    """
    reader = plugins.load(dataset, DATASETS) if isinstance(dataset, str) else dataset
    annotations = Path(annotations)
    if split not in SPLITS:
        raise InputError(f"no split {split}; allowed: {', '.join(map(str, SPLITS))}")
    if not annotations.is_dir():
        raise InputError(f"{annotations}: no such folder; --annotations is the folder of the lists")
    return reader(annotations, split=split)


def _read_class_lists(
    annotations: Path, *, split: int, group_of: Callable[[str], str | None]
) -> Split:
    class_names = _read_numbered_classes(annotations / "classInd.txt")
    labels = {name.casefold(): label for label, name in enumerate(class_names)}
    listed: list[Listed] = []
    for subset in ("train", "test"):
        file = annotations / f"{subset}list{split:02d}.txt"
        for where, (video, number) in read_rows(
            file, r"(.+?)(?:\s+(\d+))?", "Class/video [number]"
        ):
            name = video_name(video, where=where)
            folder, slash, _ = name.partition("/")
            label = labels.get(folder.casefold())
            if label is None or not slash:
                raise InputError(f"{where}: {video!r} is not below a class of classInd.txt")
            if number and int(number) != label + 1:
                raise InputError(
                    f"{where}: class number {number}, but {class_names[label]} is "
                    f"{label + 1} in classInd.txt (both count from 1)"
                )
            listed.append((where, subset, VideoRecord(name, label, group_of(name) or name)))
    return make_split(class_names, listed, where=annotations)


def _read_numbered_classes(path: Path) -> list[str]:
    columns = "number, then class name"
    for expected, (where, (number,)) in enumerate(read_rows(path, r"(\d+)\s+.+", columns), 1):
        if int(number) != expected:
            raise InputError(f"{where}: class number {number}; expected {expected}")
    return read_classes(path, r"\d+\s+(.+)", columns)


def _read_groups(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    groups = {}
    for number, row in enumerate(csv.reader(read_text(path).splitlines()), start=1):
        if len(row) != 2:
            raise InputError(f"{path}:{number}: {len(row)} columns; expected name,group")
        groups[row[0]] = row[1]
    return groups
