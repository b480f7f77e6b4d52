"""Lists for a folder of videos: writing them, and comparing a data set with its lists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flow_extract.store.reader import entry_paths
from flow_extract.video.find_videos import find_videos
from twostream.data.holdout import hold_out
from twostream.data.splits import (
    GROUPS,
    SPLITS,
    Split,
    VideoRecord,
    known_groups,
    path_list_splits,
    read_groups,
    read_split,
)
from twostream_base.errors import InputError, some_of
from twostream_base.files import write_text
from twostream_base.text import in_one_line, read_csv, write_csv
from twostream_base.video_names import match_names, without_suffix

GroupOf = Callable[[str], str]
# A column of a CSV file beside the videos that looks like their groups, and how large it may be.
GROUP_COLUMN = r"(group|scene|source|film|movie|person|subject|actor|signer)([ _-]?(id|name|no))?"
MOST_BYTES = 2**24


def write_lists(
    annotations: Path,
    names: Sequence[str],
    *,
    group_of: GroupOf,
    test_fraction: float,
    min_videos: int = 1,
) -> dict[str, int]:
    """Write UCF101's list files and `groups.csv` for videos named `class/...`.

    Splits 1 to 3 are drawn at random, whole groups at a time; the same names give the same lists.

    Args:
        names: video names; what stands before the first `/` is the class.
        min_videos: classes with fewer videos are left out.

    Returns:
        Class -> number of videos, of the classes that were left out.

    Raises:
        InputError: a video without class folder, fewer than two classes, or no split is possible.
    """
    loose = [name for name in names if "/" not in name]
    if loose:
        raise InputError(f"videos must lie in one folder a class; these do not: {some_of(loose)}")
    sizes = Counter(name.partition("/")[0] for name in names)
    left_out = {name: count for name, count in sorted(sizes.items()) if count < min_videos}
    class_names = sorted(set(sizes) - set(left_out))
    if len(class_names) < 2:
        which = f"no class folder has {min_videos} or more videos"
        if class_names:
            which = f"the only class folder of {min_videos} or more videos is {class_names[0]}"
        cure = "give as --videos the folder in which the class folders lie"
        if len(sizes) > 1:
            cure = f"lower --min-videos, or {cure}"
        raise InputError(f"{which}; at least 2 classes are needed: {cure}")
    records = [
        VideoRecord(name, class_names.index(folder), group_of(name))
        for name in sorted(names)
        if (folder := name.partition("/")[0]) not in left_out
    ]
    path = annotations / "classInd.txt"
    write_text(path, class_index(class_names, path=path))
    write_groups(annotations, {record.name: record.group for record in records})
    for split in SPLITS:
        rng = np.random.default_rng(split)
        train, test = hold_out(records, fraction=test_fraction, rng=rng)
        for subset, part in (("train", train), ("test", test)):
            path = annotations / f"{subset}list{split:02d}.txt"
            write_text(path, class_list(part, subset, path=path))
    return left_out


def class_index(class_names: Sequence[str], *, path: Path) -> str:
    """The text of `classInd.txt`: the classes and their numbers, from 1.

    Raises:
        InputError: lines of a class would be comments.
    """
    if comments := [name for name in class_names if re.match(r"#+\s", name)]:
        raise InputError(
            f"class {comments[0]!r}: `# ` begins a comment in lists; rename its folder"
        )
    rows = (f"{number} {name}" for number, name in enumerate(class_names, start=1))
    return "".join(f"{in_one_line(row, path=path)}\n" for row in rows)


def class_list(records: Sequence[VideoRecord], subset: str, *, path: Path) -> str:
    """The text of one of UCF101's lists: names, those to learn from with the number of the class.

    Others have it too where a name ends in a number, as `run/take 2`, which would be taken for it.
    """
    numbered = subset == "train" or any(re.search(r"\s\d+$", r.name) for r in records)
    rows = (f"{r.name} {r.label + 1}" if numbered else r.name for r in records)
    return "".join(f"{in_one_line(row, path=path)}\n" for row in rows)


def write_groups(annotations: Path, groups: Mapping[str, str]) -> None:
    """Write `groups.csv`, from which `read_split` takes the group of each video."""
    write_csv(annotations / GROUPS, list(groups.items()))


def add_groups(
    dataset: str, annotations: Path, group_of: GroupOf, *, replaces: bool, keeps: bool = False
) -> Path:
    """Write `groups.csv` for lists that are there already, and return its path.

    Args:
        replaces: whether it may replace one that is there.
        keeps: its rows stay, and only what they lack is added.

    Raises:
        InputError: the lists are wrong, a video has no group, or `groups.csv` is there.
    """
    path = annotations / GROUPS
    if path.exists() and not (replaces or keeps):
        raise InputError(f"{path}: it is there already; --force replaces it")
    known = read_groups(path) if keeps and path.exists() else {}
    splits = read_all_splits(dataset, annotations, with_groups=False).values()
    names = {record.name for split in splits for record in split.records}
    write_groups(annotations, {name: known.get(name) or group_of(name) for name in sorted(names)})
    return path


def groups_by_pattern(pattern: str) -> GroupOf:
    """Take the group from the name: what the parentheses of a regular expression match.

    `_(g\\d+)_` turns `Biking/v_Biking_g01_c04` into group `Biking/g01`: groups are per class.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"--group-pattern {pattern!r} is not a regular expression: {error}"
        ) from None
    if not expression.groups:
        raise InputError(f"--group-pattern {pattern!r} needs parentheses around the group's name")

    def group_of(name: str) -> str:
        match = expression.search(name)
        if not match:
            raise InputError(f"--group-pattern {pattern!r} does not match the video {name!r}")
        return f"{name.partition('/')[0]}/{match[1]}"

    return group_of


def groups_from_csv(path: Path, *, column: str) -> GroupOf:
    """Take the group from a CSV file with a header: first column the video, `column` the group.

    Suffixes of the videos do not matter. Groups are over all classes: a source may serve several.
    """
    heading, *rows = read_csv(path) or [[]]
    if column not in heading:
        raise InputError(f"{path}: no column {column!r}; it has {', '.join(heading)}")
    at = heading.index(column)
    groups = {without_suffix(row[0]): row[at] for row in rows if len(row) > at}

    def group_of(name: str) -> str:
        if not groups.get(name):
            raise InputError(f"{path}: no row with a {column} for the video {name!r}")
        return groups[name]

    return group_of


def find_groups(folder: Path, names: Sequence[str]) -> tuple[str, str] | None:
    """A CSV file in this folder, and its column, that seem to have the group of every video."""
    for path in sorted(folder.glob("*.csv")):
        try:
            if path.stat().st_size > MOST_BYTES:
                continue
            for column in (read_csv(path) or [[]])[0]:
                if re.fullmatch(GROUP_COLUMN, column.strip().lower()):
                    group_of = groups_from_csv(path, column=column)
                    if len({group_of(name) for name in names}) < len(names):
                        return str(path), column
        except (InputError, OSError):
            continue  # a file about something else
    return None


def read_all_splits(
    dataset: str, annotations: Path, *, with_groups: bool = True
) -> dict[int, Split]:
    """Every split that has lists, by its number.

    Raises:
        InputError: the lists are wrong; see `twostream.data.splits`.
    """
    numbers: Sequence[int] = SPLITS[:1]
    if dataset in ("ucf101", "hmdb51", "toy", "toy-where"):
        numbers = SPLITS
    elif dataset == "folder":  # those with lists, the first at least
        numbers = [k for k in SPLITS if (annotations / f"trainlist{k:02d}.txt").exists()] or numbers
    elif dataset in ("timed", "toy-long"):
        numbers = [k for k in SPLITS if (annotations / f"clips{k:02d}.csv").exists()] or numbers
    elif dataset == "path-lists" and annotations.is_dir():
        numbers = sorted(path_list_splits(annotations) & set(SPLITS)) or numbers
    return {
        number: read_split(dataset, annotations, split=number, with_groups=with_groups)
        for number in numbers
    }


def take_inventory(dataset: str, videos: Path, annotations: Path, *, store: Path) -> dict[str, Any]:
    """Compare every split that has lists with the folder of videos.

    Returns:
        JSON values: `classes`, `videos` (listed ones found), `groups` (how many the listed videos
        are in; None if not known), `groups_at` (file and column that seem to know them), `splits`
        (for each the counts of train, val, test and missing videos, of classes without training or
        test videos how many the other list has, and how many groups are `parted`: they have test
        videos and others to learn from), the names that are `missing` or `unlisted`, those that lie
        `elsewhere` than listed with their place, the `empty` classes that no list uses, the files
        that are `ignored` as no videos, and those `refused` with the reason. If there is a store,
        `store` says how many listed videos are `stored`, which are `not_stored`, and which stored
        ones are in no list.

    Raises:
        InputError: the lists are wrong; see `twostream.data.splits`.
    """
    splits = read_all_splits(dataset, annotations)
    on_disk = find_videos(videos, store=store)
    everything = [record for split in splits.values() for record in split.records]
    used = {record.label for record in everything}
    class_names = next(iter(splits.values())).class_names
    groups = {record.stored_name: record.group for record in everything}
    listed = sorted(groups)
    is_grouped = known_groups(everything)
    matches = match_names(listed, list(on_disk.videos), moved=True)
    return {
        "dataset": dataset,
        "classes": len(class_names),
        "videos": len(matches),
        "groups": len(set(groups.values())) if is_grouped else None,
        "groups_at": None if is_grouped else find_groups(videos, listed),
        "splits": [
            {
                "split": number,
                "train": len(split.train),
                "val": len(split.val),
                "test": len(split.test),
                "missing": sum(record.stored_name not in matches for record in split.records),
                "untrained": _lacking(split.test + split.val, split.train, class_names),
                "untested": _lacking(split.train, split.test, class_names),
                "parted": _parted_groups(split) if is_grouped else 0,
            }
            for number, split in splits.items()
        ],
        "missing": [name for name in listed if name not in matches],
        "elsewhere": {
            name: place
            for name, place in sorted(matches.items())
            if place.casefold() != name.casefold()
        },
        "empty": [name for label, name in enumerate(class_names) if label not in used],
        "unlisted": sorted(set(on_disk.videos) - set(matches.values())),
        "ignored": list(on_disk.ignored),
        "refused": {**on_disk.refused, **on_disk.skipped},
        "store": _stored(listed, store),
    }


def _lacking(
    records: Sequence[VideoRecord], others: Sequence[VideoRecord], class_names: Sequence[str]
) -> dict[str, int]:
    """Class -> how many of the records, of the classes that none of the others has."""
    counts = Counter(record.label for record in records)
    missing = counts.keys() - {record.label for record in others}
    return {class_names[label]: counts[label] for label in sorted(missing)}


def _parted_groups(split: Split) -> int:
    """How many groups have both test videos and others."""
    groups = [{record.group for record in part} for part in (split.test, split.train + split.val)]
    return len(groups[0] & groups[1])


def _stored(listed: Sequence[str], store: Path) -> dict[str, Any] | None:
    """Which of the listed videos are in the store, and what else is; None without a store."""
    stored = list(entry_paths(store)) if store.is_dir() else []
    if not stored:
        return None
    matches = match_names(listed, stored, moved=True)
    return {
        "stored": len(matches),
        "not_stored": [name for name in listed if name not in matches],
        "unlisted": sorted(set(stored) - set(matches.values())),
    }
