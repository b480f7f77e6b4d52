"""The official lists of each data set, read into records; one reader a data set.

A reader is `(annotations: folder, *, split: int) -> Split`. What it reads is checked line by line:
an unknown class, a doubled video, a video in both train and test end with file and line. UCF101 and
HMDB51 have three splits; the others have one, tested on their validation list, as the labels of
their test lists were never published.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fusion.events.truth import event_of_row, read_event_rows
from fusion.tables.windows import window_names
from twostream_base import plugins
from twostream_base.errors import InputError, some_of
from twostream_base.files import parse_json, read_text, why_address
from twostream_base.text import read_numbered_csv
from twostream_base.video_names import hmdb51_group, ucf101_group, without_suffix


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One labelled video.

    Attributes:
        name: path below the video root without suffix, `/`-separated: `Archery/v_Archery_g02_c02`.
        label: class index from 0.
        group: videos of one group show the same scene or come from the same film; a hold-out never
            parts them. Unique over the whole data set. The name, where nothing is known.
        film: the name of the longer video of which this is a clip, and which is stored as a whole;
            empty where it is no clip.
        start, end: of a clip, seconds in its film.
    """

    name: str
    label: int
    group: str
    film: str = ""
    start: float = 0.0
    end: float = 0.0

    @property
    def stored_name(self) -> str:
        """The name of the video that has to be stored: the film of a clip, else its own."""
        return self.film or self.name


@dataclass(frozen=True, slots=True)
class Split:
    """One official split of a data set.

    Attributes:
        class_names: the position of a name is its label.
        train: videos to learn from.
        test: videos to report on.
        val: videos that choose the epoch, where a list names them; else training holds some out.
    """

    class_names: tuple[str, ...]
    train: tuple[VideoRecord, ...]
    test: tuple[VideoRecord, ...]
    val: tuple[VideoRecord, ...] = ()

    @property
    def records(self) -> tuple[VideoRecord, ...]:
        """All videos: of `train`, `val` and `test`."""
        return self.train + self.val + self.test

    def subset(self, name: str) -> tuple[VideoRecord, ...]:
        """The `train`, `val` or `test` videos by name."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


def known_groups(records: Sequence[VideoRecord]) -> tuple[str, ...] | None:
    """The group of each video, or None where no list and no rule tells any."""
    if all(record.film for record in records):  # whatever groups.csv says of films
        return tuple(record.film for record in records)
    if all(record.group == record.name for record in records):
        return None
    return tuple(record.group for record in records)


def known_times(records: Sequence[VideoRecord]) -> np.ndarray | None:
    """Start and end of clips of films, float64 (V, 2) seconds; None where some are no clips."""
    if not all(record.film for record in records):
        return None
    return np.array([(record.start, record.end) for record in records], np.float64).reshape(-1, 2)


Listed = tuple[str, str, VideoRecord]  # where it stands (file:line), subset, record


def read_rows(path: Path, pattern: str, expected: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where each row of a list file stands ("file:line"), and its columns.

    Args:
        pattern: regular expression of a whole row; its groups are the columns.
        expected: the same in words, for the message.
    """
    for where, line in read_lines(path):
        row = re.fullmatch(pattern, line)
        if not row:
            raise InputError(f"{where}: {line!r}; expected: {expected}")
        yield where, row.groups()


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Where each line of a list file stands, and its text; blank lines and comments aside.

    A comment begins with `#` and a blank: `#` alone begins names of HMDB51.
    """
    for number, line in enumerate(read_list(path).splitlines(), start=1):
        text = line.strip()
        if text.strip("#") and not re.match(r"#+\s", text):
            yield f"{path}:{number}", text


def read_list(path: Path) -> str:
    """The text of a list file; its absence is explained."""
    require_list(path)
    return read_text(path)


def require_list(path: Path) -> None:
    """Explain that a list file is absent, if it is."""
    if not path.is_file():
        there = sorted(file.name for file in path.parent.glob("*") if file.is_file())
        others = f", but {some_of(there)}" if there else ""
        raise InputError(f"{path}: no such list file{others}; is --annotations the right folder?")


def read_csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row of a CSV file with a header stands, and its columns, none of them empty."""
    require_list(path)
    (_, heading), *rows = read_numbered_csv(path) or [(1, [])]
    absent = [column for column in columns if column not in heading]
    if absent:
        raise InputError(f"{path}:1: no column {absent[0]!r}; expected {', '.join(columns)}")
    for number, cells in rows:
        where = f"{path}:{number}"
        row = dict(zip(heading, cells, strict=False))
        if not all(row.get(column) for column in columns):
            raise InputError(f"{where}: a column is empty; expected {', '.join(columns)}")
        yield where, row


def read_json(path: Path, kind: type) -> Any:
    """The list or dict that a JSON file holds."""
    try:
        content = parse_json(read_list(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}; no list of videos is") from None
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
    """Turn a listed path into a video name: a video's suffix off; refused if it leads elsewhere.

    Paths of other machines are taken as they are below their root: `C:\\data\\run\\a.avi` is
    `data/run/a`, and found by what it ends in. Quotes around a path are no part of it.
    """
    if len(listed) > 2 and listed[0] == listed[-1] == '"':
        listed = listed[1:-1].replace('""', '"')
    text = listed.replace("\\", "/") if "/" not in listed else listed
    path = PurePosixPath(re.sub(r"^[A-Za-z]:/|^/+", "", text))
    if not path.name:
        raise InputError(f"{where}: {listed!r} names no video")
    if ".." in path.parts:
        raise InputError(f"{where}: {listed!r} leads out of the video folder; no '..' is allowed")
    return without_suffix(str(path))


def make_split(class_names: Sequence[str], listed: Sequence[Listed], *, where: Path) -> Split:
    """Gather records into a split.

    Raises:
        InputError: a video stands there twice, or a list is empty.
    """
    first: dict[str, tuple[str, int]] = {}
    subsets: dict[str, list[VideoRecord]] = {subset: [] for subset in SUBSETS}
    for line, subset, record in listed:
        if record.name in first:
            place, label = first[record.name]
            several = "" if label == record.label else ", and has one label"
            raise InputError(
                f"{line}: {record.name} is listed already, at {place}; "
                f"a video belongs once in one of the lists{several}"
            )
        first[record.name] = line, record.label
        subsets[subset].append(record)
    for subset in ("train", "test"):
        if not subsets[subset]:
            raise InputError(f"{where}: the {subset} list is empty")
    return Split(tuple(class_names), **{key: tuple(records) for key, records in subsets.items()})


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


SPLITS = (1, 2, 3)
GROUPS = "groups.csv"
PENDING = ".update.json"  # what `init --update` has still to write
MENDED_GROUPS = "mend it, or write it anew: twostream init --force with --group-pattern or -file"
FEWEST_FRAMES = 8  # most videos of a list have more
SUBSETS = ("train", "val", "test")
HMDB51_MARKS = {"1": "train", "2": "test"}  # 0: in neither


def read_ucf101(annotations: Path, *, split: int) -> Split:
    """Read `classInd.txt`, `trainlist0K.txt` and `testlist0K.txt` (Soomro et al., 2012).

    Where there is a `vallist0K.txt`, its videos choose the epoch.

    The group is the scene, see `ucf101_group`; a video of another name is a group of its own.
    """
    return _read_class_lists(annotations, split=split, group_of=ucf101_group)


def read_folder(annotations: Path, *, split: int) -> Split:
    """Read a custom data set in UCF101's list files; `read_split` adds the groups."""
    return _read_class_lists(annotations, split=split, group_of=lambda name: None)


def _read_class_lists(
    annotations: Path, *, split: int, group_of: Callable[[str], str | None]
) -> Split:
    path, columns = annotations / "classInd.txt", "number, then class name"
    for expected, (where, (number,)) in enumerate(read_rows(path, r"(\d+)\s+.+", columns), 1):
        if int(number) != expected:
            raise InputError(f"{where}: class number {number}; expected {expected}")
    class_names = read_classes(path, r"\d+\s+(.+)", columns)
    labels = {name.casefold(): label for label, name in enumerate(class_names)}
    listed: list[Listed] = []
    for subset in SUBSETS:
        file = annotations / f"{subset}list{split:02d}.txt"
        if subset == "val" and not file.exists():
            continue
        rows = list(read_rows(file, r"(\".+\"|.+?)(?:\s+(\d+))?", "Class/video [number]"))
        for where, (video, number) in rows:
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


def read_kinetics(annotations: Path, *, split: int) -> Split:
    """Read `train.csv` and `validate.csv` (or `val.csv`) of Kinetics (Kay et al., 2017).

    mmaction2 calls them `kinetics_train.csv` and `kinetics_val.csv`. Their columns are label,
    youtube_id, time_start, time_end, split. A video lies at `<label>/<youtube_id>_<start>_<end>`,
    times with six digits; its group is the source video. Classes are numbered alphabetically.
    """
    check_single_split(split, "Kinetics")
    files = (
        first_existing(annotations, "train.csv", "kinetics_train.csv"),
        first_existing(annotations, "validate.csv", "val.csv", "kinetics_val.csv"),
    )
    columns = ("label", "youtube_id", "time_start", "time_end")
    rows = [
        (subset, *row)
        for subset, file in zip(("train", "test"), files, strict=True)
        for row in read_csv_rows(file, columns)
    ]
    class_names = sorted({row["label"] for _, _, row in rows})
    labels = {name: label for label, name in enumerate(class_names)}
    listed: list[Listed] = []
    for subset, where, row in rows:
        seconds = []
        for key in ("time_start", "time_end"):
            try:
                seconds.append(int(float(row[key])))
            except ValueError:
                raise InputError(f"{where}: {row[key]!r} is not a time in seconds") from None
        start, end = seconds
        path = f"{row['label']}/{row['youtube_id']}_{start:06d}_{end:06d}.mp4"
        name = video_name(path, where=where)
        listed.append((where, subset, VideoRecord(name, labels[row["label"]], row["youtube_id"])))
    return make_split(class_names, listed, where=annotations)


def read_something(annotations: Path, *, split: int) -> Split:
    """Read Something-Something (Goyal et al., ICCV 2017): labels, train, validation.

    Version 2 has JSON files, `labels.json`, `train.json` and `validation.json`, whatever stands
    before in their names; version 1 has CSV files, as Jester. A video is its id; each is filmed
    for itself, so each is a group.
    """
    check_single_split(split, "Something-Something")
    if not list(annotations.glob("*labels.json")) and list(annotations.glob("*labels.csv")):
        return _read_id_lists(annotations)
    numbered = read_json(file_ending_in(annotations, "labels.json"), dict)
    class_names = sorted(numbered, key=lambda name: int(numbered[name]))
    labels = {name: label for label, name in enumerate(class_names)}
    listed: list[Listed] = []
    for subset, ending in (("train", "train.json"), ("test", "validation.json")):
        path = file_ending_in(annotations, ending)
        for number, video in enumerate(read_json(path, list), start=1):
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
    check_single_split(split, "Jester")
    return _read_id_lists(annotations)


def _read_id_lists(annotations: Path) -> Split:
    class_names = read_classes(file_ending_in(annotations, "labels.csv"), r"(.+)", "a class")
    labels = {name: label for label, name in enumerate(class_names)}
    listed: list[Listed] = []
    for subset, ending in (("train", "train.csv"), ("test", "validation.csv")):
        rows = read_rows(file_ending_in(annotations, ending), r"([^;]+);([^;]+)", "id;label")
        for where, (video, label) in rows:
            name = video_name(video.strip(), where=where)
            record = VideoRecord(name, _label(label.strip(), labels, where=where), group=name)
            listed.append((where, subset, record))
    return make_split(class_names, listed, where=annotations)


def read_path_lists(annotations: Path, *, split: int) -> Split:
    """Read lists of `path [frames] label`, labels from 0: `train.txt`, `test.txt`, `val.txt`.

    So TSN, TSM, mmaction2, SlowFast and VideoMAE write them, with blanks, commas or tabs between
    the columns. Other names of the files will do where they tell subset and split, such as
    `ucf101_train_split_2_videos.txt`, `kinetics400_val_list_videos.txt` and `train.csv`. Of three
    lists, those of `val` choose the epoch; of two, they are the test videos. Class names come
    from `classes.txt` (or TSM's `category.txt`), one a line; without it they are the numbers. Each
    video is a group of its own.
    """
    splits = path_list_splits(annotations)
    if splits <= {0}:
        check_single_split(split, "a pair of path lists")
    elif split not in splits:
        named = some_of(sorted(splits - {0}))
        raise InputError(f"{annotations}: no lists of split {split}, only of {named}")
    files = {
        subset: _path_list(annotations, subset, split=split if any(splits) else 0)
        for subset in SUBSETS
    }
    if files["test"] is None:
        files["test"], files["val"] = files["val"], None
    for subset in ("train", "test"):
        if files[subset] is None:
            require_list(annotations / f"{subset}.txt")
    rows = [
        (subset, *row) for subset, file in files.items() if file for row in _read_path_rows(file)
    ]
    same = {key: sorted(row[2:] for row in rows if row[0] == key) for key in ("val", "test")}
    if same["val"] == same["test"]:  # one list under two names, as data loaders of others want it
        rows = [row for row in rows if row[0] != "val"]
    lowest, highest = (edge((row[3] for row in rows), default=0) for edge in (min, max))
    names_file = first_existing(annotations, "classes.txt", "category.txt")
    if names_file.exists():
        class_names = read_classes(names_file, r"(.+)", "a class")
    else:
        class_names = [str(label) for label in range(highest + 1)]
    if lowest > 0 and (highest == len(class_names) or not names_file.exists()):
        raise InputError(
            f"{annotations}: no video has label 0, the labels are {lowest} to {highest}; labels "
            "in these lists count from 0: take 1 from each, or name the classes, also those "
            "without videos, in classes.txt"
        )
    listed: list[Listed] = []
    for subset, where, video, label in rows:
        if label >= len(class_names):
            raise InputError(f"{where}: label {label}; {names_file} has {len(class_names)} classes "
                             "and labels count from 0")  # fmt: skip
        name = video_name(video, where=where)
        listed.append((where, subset, VideoRecord(name, label, group=name)))
    return make_split(class_names, listed, where=annotations)


def path_list_splits(annotations: Path) -> set[int]:
    """The numbers of the splits that path lists name; 0 stands for lists without a number."""
    return {number for subset in SUBSETS for number in _path_lists(annotations, subset).values()}


def _path_lists(annotations: Path, subset: str) -> dict[Path, int]:
    """The path lists of a subset by their names, and the split of each; 0 where none is named.

    Where there is a `train.txt` or `train.csv`, other lists are named as plainly.
    """
    words = {"train": "train", "val": "val|valid|validation", "test": "test"}[subset]
    is_plain = any((annotations / f"train.{suffix}").exists() for suffix in ("txt", "csv"))
    name = rf"(?:{words})" if is_plain else rf"(?:.*[^a-z])?(?:{words})(?:list)?(?:[^a-z].*)?"
    files = {path: path.name.lower() for path in sorted(annotations.iterdir()) if path.is_file()}
    return {
        path: int(split[1]) if (split := re.search(r"(?:split[_-]?|list)0*(\d+)", text)) else 0
        for path, text in files.items()
        if re.fullmatch(rf"{name}\.(?:txt|csv)", text)
    }


def _path_list(annotations: Path, subset: str, *, split: int) -> Path | None:
    """The path list of a subset; None where there is none."""
    lists = _path_lists(annotations, subset)
    files = [path for path, number in lists.items() if number == split]
    if len(files) > 1:
        raise InputError(
            f"{annotations}: {len(files)} files are lists of {subset} videos by their names: "
            f"{some_of([path.name for path in files])}; leave one of them in this folder"
        )
    return files[0] if files else None


# Columns are parted alike in the whole file; a path may have in it what does not part them.
SEPARATORS = {"tabs": r"\s*\t\s*", "commas": r"\s*,\s*", "semicolons": r"\s*;\s*", "blanks": r"\s+"}


def _read_path_rows(file: Path) -> list[tuple[str, str, int]]:
    """Place, path and label of each row of a path list.

    What parts the columns, and what the numbers behind the path are, is decided once for the whole
    file: a label, or the number of frames and a label.
    """
    expected = "path, perhaps the number of frames, label"
    lines = list(read_lines(file))
    patterns = {
        name: re.compile(rf'(".+"|\S.*?)((?:{separator}\d+)+)')
        for name, separator in SEPARATORS.items()
    }
    # Blanks come last: with them a path that ends in a number would lose it.
    fitting = {
        name: sum(bool(pattern.fullmatch(line)) for _, line in lines)
        for name, pattern in patterns.items()
    }
    separator = max(fitting, key=lambda name: fitting[name])
    rows = []
    for where, line in lines:
        row = patterns[separator].fullmatch(line)
        if not row:
            separators = f"{separator} as in most rows"
            if not fitting[separator]:
                *others, last = SEPARATORS
                separators = f"{', '.join(others)} or {last}; the label is a number, from 0"
            raise InputError(f"{where}: {line!r}; expected: {expected}, parted by {separators}")
        rows.append((where, row[1], [int(number) for number in re.findall(r"\d+", row[2])]))
    for where, path, numbers in rows:
        if len(numbers) != len(rows[0][2]):
            raise InputError(
                f"{where}: {len(numbers)} number(s) behind {path!r}, but {len(rows[0][2])} at "
                f"{rows[0][0]}; expected: {expected}, the same in all rows. Several labels a video "
                "are not supported"
            )
        if len(numbers) > 2:
            raise InputError(
                f"{where}: {len(numbers)} numbers behind {path!r}; expected: {expected}. Several "
                "labels a video are not supported, nor parts of videos (first frame, frames, label)"
            )
    frames = [(numbers[0], where) for where, _, numbers in rows if len(numbers) == 2]
    if frames:
        fewest, where = min(frames)
        usual = sorted(frames)[len(frames) // 2][0]
        highest = max(numbers[-1] for *_, numbers in rows)
        if fewest == 0 or usual < FEWEST_FRAMES and max(frames)[0] <= max(1, highest):
            raise InputError(
                f"{where}: {fewest} is hardly the number of frames of a video, and several labels "
                "a video are not supported; if it is one, leave this column out, as it is not used"
            )
    return [(where, path, numbers[-1]) for where, path, numbers in rows]


def _label(name: str, labels: dict[str, int], *, where: str) -> int:
    if name not in labels:
        raise InputError(
            f"{where}: {name!r} is none of the {len(labels)} classes of the labels file"
        )
    return labels[name]


def read_timed(annotations: Path, *, split: int) -> Split:
    """Read clips of long videos: `clips.csv`, or `clips01.csv` to `clips03.csv` of three splits.

    The columns are video, start, end, label, subset (train, val, test); times are seconds, or with
    a column fps frames at that rate, the end being the frame behind the last. Classes are those of
    `classes.txt`, one a line, else the labels in the alphabet's order. A clip is called
    `film@00012.500-00014.500`, and its group is the film.
    """
    path = timed_list(annotations, split=split)
    rows = []
    for where, row in read_event_rows(path, needed=("subset",)):
        if row["subset"] not in SUBSETS:
            allowed = ", ".join(SUBSETS)
            raise InputError(f"{where}: subset {row['subset']!r}; allowed: {allowed}")
        rows.append((where, row["subset"], event_of_row(row, where=where), row["video"]))
    classes = annotations / "classes.txt"
    if classes.exists():
        class_names = read_classes(classes, r"(.+)", "a class")
    else:
        class_names = sorted({event.label for _, _, event, _ in rows})
    labels = {name: label for label, name in enumerate(class_names)}
    listed: list[Listed] = []
    for where, subset, event, video in rows:
        if event.label not in labels:
            raise InputError(f"{where}: {event.label!r} is none of the classes of {classes}")
        if event.end <= event.start:
            raise InputError(f"{where}: the clip ends at {event.end:g} s, where it starts")
        film = video_name(video, where=where)
        (name,) = window_names(film, np.array([event[:2]]))
        record = VideoRecord(name, labels[event.label], film, film, event.start, event.end)
        listed.append((where, subset, record))
    return make_split(class_names, listed, where=path)


def timed_list(annotations: Path, *, split: int) -> Path:
    """The file with the clips of a split; it may not be there."""
    path = annotations / f"clips{split:02d}.csv"
    if path.exists() or not (annotations / "clips.csv").exists():
        return path
    check_single_split(split, "clips.csv")
    return annotations / "clips.csv"


DATASETS: dict[str, Callable[..., Split]] = {
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
    "folder": read_folder,
    "toy": read_ucf101,
    "kinetics": read_kinetics,
    "something": read_something,
    "jester": read_jester,
    "path-lists": read_path_lists,
    "timed": read_timed,
    "toy-long": read_timed,
    "toy-where": read_ucf101,
}


def read_split(
    dataset: str | Callable[..., Split],
    annotations: str | os.PathLike[str],
    *,
    split: int = 1,
    with_groups: bool = True,
) -> Split:
    """Read an official split of a data set.

        split = read_split("ucf101", "ucfTrainTestlist", split=1)
        split.class_names[0], len(split.train), len(split.test)     # ApplyEyeMakeup 9537 3783

    Args:
        dataset: key of DATASETS, or such a reader itself.
        annotations: folder of the list files. Groups in `groups.csv` there, lines of `name,group`,
            stand above those of the reader; a video that it does not name keeps the reader's.
        with_groups: whether `groups.csv` is read.

    Raises:
        InputError: a list is absent or wrong; file and line are named.
    """
    reader: Callable[..., Split] = plugins.load(dataset, DATASETS)
    annotations = Path(annotations)
    if split not in SPLITS:
        raise InputError(f"no split {split}; allowed: {', '.join(map(str, SPLITS))}")
    if not annotations.is_dir():
        reason = "no such folder; --annotations is the folder of the lists"
        raise InputError(f"{annotations}: {why_address(annotations) or reason}")
    if (annotations / PENDING).exists():
        raise InputError(
            f"{annotations}: an update of these lists was stopped before its end; "
            "`twostream init --update` ends it"
        )
    lists = reader(annotations, split=split)
    path = annotations / GROUPS
    if not with_groups or not path.exists():
        return lists
    groups = read_groups(path)
    names = {record.name for record in lists.records}
    if groups and names.isdisjoint(groups):
        raise InputError(
            f"{path}: none of its names is one of the lists, as {some_of(sorted(names), limit=2)}; "
            f"{MENDED_GROUPS}"
        )

    def grouped(subset: str) -> tuple[VideoRecord, ...]:
        return tuple(replace(r, group=groups.get(r.name, r.group)) for r in lists.subset(subset))

    return Split(lists.class_names, **{subset: grouped(subset) for subset in SUBSETS})


def read_groups(path: Path) -> dict[str, str]:
    """Read `groups.csv`: name -> group, each name also without the suffix of a video.

    Raises:
        InputError: a row that is no name and group; file and line are named.
    """
    groups: dict[str, str] = {}
    try:
        rows = read_numbered_csv(path)
    except InputError as error:
        raise InputError(f"{error}; {MENDED_GROUPS}") from error
    for number, row in rows:
        if len(row) != 2 or not all(row):
            raise InputError(
                f"{path}:{number}: {','.join(row)!r}; expected name,group; {MENDED_GROUPS}"
            )
        groups[row[0]] = row[1]
        groups.setdefault(without_suffix(row[0]), row[1])
    return groups
