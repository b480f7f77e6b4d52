"""Lists of a folder of videos, brought up to date: videos added, gone, moved; classes renamed.

Splits stay: a video keeps its side, and whoever shares a group with it comes to the same side. A
video that was held out, for validation or test, never comes to the training videos, also not when
it is gone for a while, under another name, or in another class: `removed.csv` remembers the sides
of those that are gone.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from twostream.data.holdout import hold_out
from twostream.data.make_lists import GroupOf, class_index, class_list, read_all_splits
from twostream.data.splits import GROUPS, PENDING, SPLITS, SUBSETS, VideoRecord, read_groups
from twostream_base.errors import InputError, some_of
from twostream_base.files import parse_json, write_text
from twostream_base.text import csv_text, read_numbered_csv
from twostream_base.video_names import LONG_NAME, match_names

REMOVED = "removed.csv"
COLUMNS = ("name", "group", "class", *(f"split {split}" for split in SPLITS))
LIST_FILES = re.compile(rf"classInd\.txt|(train|val|test)list0[123]\.txt|{GROUPS}|{REMOVED}")
# Whether a video under another name is the same file; None where that is not known.
SameFile = Callable[[str, str], bool | None]
Sides = dict[int, str]  # split -> subset


class Removed(NamedTuple):
    """What `removed.csv` remembers of a video: `number` is that of its class, from 1."""

    group: str
    number: int
    sides: Sides


@dataclass(frozen=True)
class ListUpdate:
    """What changes in the lists of a folder, and the files that say so.

    Attributes:
        files: name of a list file -> its new text; only those that change.
        added, returned: name -> its subset in each split; the latter were gone for a while.
        gone: names that were listed.
        moved: old name -> new name, in the same class or in another.
        renamed: old class -> new class.
        new_classes, ended_classes: class -> number of its videos.
        too_small: new classes with fewer videos than are asked for.
        pinned: split -> how many videos that chose epochs of its runs are now listed as such.
    """

    files: dict[str, str] = field(default_factory=dict)
    added: dict[str, Sides] = field(default_factory=dict)
    returned: dict[str, Sides] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    new_classes: dict[str, int] = field(default_factory=dict)
    ended_classes: list[str] = field(default_factory=list)
    too_small: dict[str, int] = field(default_factory=dict)
    pinned: dict[int, int] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {key: value for key, value in vars(self).items() if key != "files"} | {
            "files": sorted(self.files)
        }


def plan_update(
    annotations: Path,
    on_disk: Sequence[str],
    *,
    group_of: GroupOf | None = None,
    test_fraction: float | None = None,
    min_videos: int = 1,
    chose_epochs: Mapping[int, Collection[str]] | None = None,
    same_file: SameFile = lambda old, new: None,
) -> ListUpdate:
    """Compare the lists of `--dataset folder` with the videos that are there; nothing is written.

    Args:
        on_disk: names of the videos, `class/...`.
        group_of: the group of a video that neither the lists nor `groups.csv` know.
        test_fraction: share of the test videos of a class with new groups; as it was, if None.
        min_videos: new classes with fewer videos are left out.
        chose_epochs: split -> videos held out by its runs; they are listed for validation then.
        same_file: told of a listed and a new name with the same end.

    Raises:
        InputError: the lists are wrong, new videos have no group while others have one, or a
            split would lose its last training or test video.
    """
    splits = read_all_splits("folder", annotations)
    records = {record.name: record for split in splits.values() for record in split.records}
    class_names = next(iter(splits.values())).class_names
    remembered = read_removed(annotations / REMOVED)
    loose = [name for name in on_disk if "/" not in name]
    if loose:
        raise InputError(f"videos must lie in one folder a class; these do not: {some_of(loose)}")

    present, gone, new = _compare(list(records), on_disk)
    if gone and not present and not new:
        raise InputError(f"{annotations}: none of the {len(gone):,} listed videos is there")
    renamed = _renamed_classes(present, gone, new, class_names, same_file)
    moved = {
        name: place
        for name in gone
        if (old := _class_of(name)) in renamed
        and (place := f"{renamed[old]}/{name.partition('/')[2]}") in new
    }
    moved |= _moved_videos([n for n in gone if n not in moved], new - {*moved.values()}, same_file)
    gone = [name for name in gone if name not in moved]
    remembered = {  # under the names of now, as far as these are known
        _in_renamed_class(name, renamed): was._replace(group=_in_renamed_class(was.group, renamed))
        for name, was in remembered.items()
    }
    returned = sorted((new & remembered.keys()) - {*moved.values()})
    long_names = [n for n in remembered if len(n.rpartition("/")[2]) >= LONG_NAME]
    back = _moved_videos(long_names, new - {*moved.values(), *returned}, same_file)
    for before, after in back.items():  # gone for a while, and back in another place
        remembered[after] = remembered.pop(before)
        returned.append(after)
    added = sorted(new - {*moved.values(), *returned})
    sizes = Counter(map(_class_of, added))
    known_classes = {name.casefold() for name in (*class_names, *renamed.values())}
    too_small = {
        name: count
        for name, count in sorted(sizes.items())
        if count < min_videos and name.casefold() not in known_classes
    }
    added = [name for name in added if _class_of(name) not in too_small]
    if not (gone or moved or returned or added):
        return ListUpdate(too_small=too_small)

    # What is known of each video by its name from now on: its group, and its side in each split.
    groups = _groups_from_now_on(records, moved, renamed)
    groups |= {name: remembered[name].group for name in returned}
    groups |= _groups_of_added(added, annotations, groups, group_of)
    sides: dict[str, Sides] = {moved.get(name, name): {} for name in records}
    for number, split in splits.items():
        chose = {records[n].group for n in (chose_epochs or {}).get(number, ()) if n in records}
        for subset in SUBSETS:
            for record in split.subset(subset):
                is_pinned = subset == "train" and record.group in chose
                side = "val" if is_pinned else subset
                sides[moved.get(record.name, record.name)][number] = side
    past = {
        name: Removed(groups.pop(name), records[name].label + 1, sides.pop(name)) for name in gone
    }
    back_at = {_class_of(name).casefold(): remembered[name].number for name in returned}
    sides |= {name: dict(remembered.pop(name).sides) for name in returned}
    remembered |= {_in_renamed_class(name, renamed): was for name, was in past.items()}

    folders = {_class_of(name).casefold(): _class_of(name) for name in [*sides, *added]}
    classes_left = [
        now for name in class_names if (now := renamed.get(name, name)).casefold() in folders
    ]
    more = sorted(
        folders[key] for key in folders.keys() - {name.casefold() for name in classes_left}
    )
    class_names_now = list(classes_left)
    # A class that was gone comes back to its number, so that networks of then know it again.
    for name in sorted(more, key=lambda name: back_at.get(name.casefold(), len(folders))):
        class_names_now.insert(back_at.get(name.casefold(), len(folders) + 1) - 1, name)
    label_of = {name.casefold(): label for label, name in enumerate(class_names_now)}
    everybody = {
        name: VideoRecord(name, label_of[_class_of(name).casefold()], groups[name])
        for name in [*sides, *added]
    }
    for number, split in splits.items():
        share = test_fraction or len(split.test) / len(split.records)
        _choose_sides(number, added, sides, everybody, remembered, test_fraction=share)

    texts = {"classInd.txt": class_index(class_names_now, path=annotations / "classInd.txt")}
    for number, split in splits.items():
        for subset in SUBSETS:
            listed = [moved.get(r.name, r.name) for r in split.subset(subset)]
            names = {name for name, side in sides.items() if side.get(number) == subset}
            order = [name for name in listed if name in names]
            order += sorted(names - set(order))
            order = sorted(names) if listed == sorted(listed) else order
            file = f"{subset}list{number:02d}.txt"
            if order or subset != "val" or (annotations / file).exists():
                rows = [everybody[name] for name in order]
                texts[file] = class_list(rows, subset, path=annotations / file)
            if not order and subset != "val":
                raise InputError(
                    f"{annotations}: split {number} would have no {subset} video left; add videos "
                    "of other groups, or make new lists in another folder of --annotations"
                )
    if (annotations / GROUPS).exists() or any(name != group for name, group in groups.items()):
        path = annotations / GROUPS
        groups_before = read_groups(path) if path.exists() else {}
        all_groups = {name: g for name, g in groups_before.items() if name not in records} | groups
        texts[GROUPS] = csv_text(sorted(all_groups.items()))
    if remembered or (annotations / REMOVED).exists():
        texts[REMOVED] = csv_text(
            [
                COLUMNS,
                *(
                    (name, was.group, was.number, *(was.sides.get(k, "") for k in SPLITS))
                    for name, was in sorted(remembered.items())
                ),
            ]
        )
    counts = Counter(_class_of(name) for name in everybody)
    return ListUpdate(
        files={
            name: text
            for name, text in texts.items()
            if not (path := annotations / name).exists() or path.read_bytes() != text.encode()
        },
        added={name: sides[name] for name in added},
        returned={name: sides[name] for name in returned},
        gone=gone,
        moved={a: b for a, b in moved.items() if _class_of(a) not in renamed},
        renamed=renamed,
        new_classes={name: counts[name] for name in more},
        ended_classes=[n for n in class_names if renamed.get(n, n) not in classes_left],
        too_small=too_small,
        pinned={
            number: count
            for number, split in splits.items()
            if (count := sum(side.get(number) == "val" for side in sides.values()))
            and not split.val
        },
    )


def write_update(annotations: Path, update: ListUpdate) -> None:
    """Write the files of an update, all or none: stopped in between, `finish_update` goes on."""
    if update.files:
        write_text(annotations / PENDING, json.dumps(update.files, ensure_ascii=False))
        finish_update(annotations)


def finish_update(annotations: Path) -> bool:
    """Write what an update that was stopped has left; whether there was one."""
    path = annotations / PENDING
    if not path.exists():
        return False
    try:
        files = parse_json(path.read_bytes())
        if not isinstance(files, dict) or not all(map(LIST_FILES.fullmatch, files)):
            raise ValueError("it names other files than lists")
    except ValueError as error:
        raise InputError(f"{path}: not what `init --update` leaves ({error}); remove it") from None
    for name, text in files.items():
        write_text(annotations / name, str(text))
    path.unlink()
    return True


def read_removed(path: Path) -> dict[str, Removed]:
    """Name -> what is remembered of videos that were listed once."""
    removed: dict[str, Removed] = {}
    if not path.exists():
        return removed
    heading, *rows = read_numbered_csv(path) or [(1, [])]
    if tuple(heading[1]) != COLUMNS:
        raise InputError(f"{path}:1: expected {','.join(COLUMNS)}; mend it, or remove it")
    for number, row in rows:
        is_whole = (
            len(row) == len(COLUMNS) and all(row[:3]) and re.fullmatch("[1-9][0-9]{0,8}", row[2])
        )
        if not is_whole or not {*row[3:]} <= {*SUBSETS, ""}:
            raise InputError(
                f"{path}:{number}: {','.join(row)!r}; expected {','.join(COLUMNS)}: the number of "
                "the class, and for each split train, val, test or nothing; mend it"
            )
        sides = {split: side for split, side in zip(SPLITS, row[3:], strict=True) if side}
        removed[row[0]] = Removed(row[1], int(row[2]), sides)
    return removed


def _compare(listed: list[str], on_disk: Sequence[str]) -> tuple[set[str], list[str], set[str]]:
    """Listed names that are there, listed ones that are gone, and names in no list.

    A video below more or fewer folders than listed is there if its class is among them; in
    another class it is none of these.
    """
    matches = {
        name: place
        for name, place in match_names(listed, on_disk, moved=True).items()
        if _class_of(name).casefold() in place.casefold().split("/")[:-1]
    }
    gone = [name for name in listed if name not in matches]
    return set(matches), gone, set(on_disk) - set(matches.values())


def _renamed_classes(
    present: set[str],
    gone: Sequence[str],
    new: set[str],
    class_names: Sequence[str],
    same_file: SameFile,
) -> dict[str, str]:
    """Old class -> new class: videos of the one are gone, most are in the other by file name."""
    known = {name.casefold(): name for name in class_names}
    classes_left = {_class_of(name).casefold() for name in present}
    old_videos: dict[str, dict[str, str]] = defaultdict(dict)
    new_videos: dict[str, dict[str, str]] = defaultdict(dict)
    for name in gone:
        folder, _, rest = name.partition("/")
        if folder.casefold() not in classes_left:
            old_videos[known[folder.casefold()]][rest] = name
    for name in new:
        folder, _, rest = name.partition("/")
        if folder.casefold() not in known:
            new_videos[folder][rest] = name
    common = {}
    for old, before in old_videos.items():
        for now, after in new_videos.items():
            same = [r for r in before.keys() & after if same_file(before[r], after[r]) is not False]
            if 2 * len(same) > len(before):
                common[old, now] = len(same)
    renamed: dict[str, str] = {}
    for pair, count in sorted(common.items(), key=lambda item: (-item[1], item[0])):
        rivals = [n for other, n in common.items() if other != pair and {*other} & {*pair}]
        if count > max(rivals, default=0):
            renamed[pair[0]] = pair[1]
    return renamed


def _moved_videos(gone: Sequence[str], new: set[str], same_file: SameFile) -> dict[str, str]:
    """Old name -> new name: one video is gone, one is new, and their file names are the same."""
    moved: dict[str, str] = {}
    for key in (lambda name: name.partition("/")[2], lambda name: name.rpartition("/")[2]):
        old, now = defaultdict(list), defaultdict(list)
        for name in gone:
            if name not in moved:
                old[key(name).casefold()].append(name)
        for name in new - {*moved.values()}:
            now[key(name).casefold()].append(name)
        for end in old.keys() & now.keys():
            if len(old[end]) == len(now[end]) == 1:
                (before,), (after,) = old[end], now[end]
                if same_file(before, after) is not False:
                    moved[before] = after
    return dict(sorted(moved.items()))


def _groups_from_now_on(
    records: Mapping[str, VideoRecord], moved: Mapping[str, str], renamed: Mapping[str, str]
) -> dict[str, str]:
    """The groups of the listed videos, by their new names.

    A group that is named after its class, as those of a pattern are, goes with a renamed class, so
    that videos to come join it.
    """
    classes: dict[str, set[str]] = defaultdict(set)
    for name, record in records.items():
        classes[record.group].add(_class_of(name))
    groups = {}
    for name, record in records.items():
        now, group = moved.get(name, name), record.group
        if group == name:
            groups[now] = now
        else:
            is_its_own = len(classes[group]) == 1
            groups[now] = _in_renamed_class(group, renamed) if is_its_own else group
    return groups


def _in_renamed_class(name: str, renamed: Mapping[str, str]) -> str:
    """The name of a video or group below the new name of its class."""
    folder, slash, rest = name.partition("/")
    return f"{renamed.get(folder, folder)}{slash}{rest}"


def _groups_of_added(
    added: Sequence[str], annotations: Path, groups: Mapping[str, str], group_of: GroupOf | None
) -> dict[str, str]:
    path = annotations / GROUPS
    rows = read_groups(path) if path.exists() else {}
    unknown = [name for name in added if name not in rows]
    if unknown and not group_of and any(name != group for name, group in groups.items()):
        raise InputError(
            f"{path}: the listed videos have groups, these new ones have none: "
            f"{some_of(unknown)}; give --group-pattern or --group-file, or add rows of name,group"
        )
    return {name: rows.get(name) or (group_of or str)(name) for name in added}


def _choose_sides(
    number: int,
    added: Sequence[str],
    sides: dict[str, Sides],
    everybody: Mapping[str, VideoRecord],
    remembered: Mapping[str, Removed],
    *,
    test_fraction: float,
) -> None:
    """Give each added video its side in a split: that of its group; new groups are drawn."""
    of_group: dict[str, set[str]] = defaultdict(set)
    entries = [(everybody[name].group, side) for name, side in sides.items()]
    for group, side in [*entries, *((was.group, was.sides) for was in remembered.values())]:
        if number in side:
            of_group[group].add(side[number])
    side_of = {
        group: next(subset for subset in ("test", "val", "train") if subset in subsets)
        for group, subsets in of_group.items()
    }
    new = {*added}
    listed = [
        record
        for name, record in sorted(everybody.items())
        if name in new or number in sides.get(name, {})
    ]
    rng = np.random.default_rng(number)
    known = {group: side == "test" for group, side in side_of.items()}
    learnt, tested = hold_out(listed, fraction=test_fraction, rng=rng, known=known)
    side_of |= {r.group: "test" for r in tested if r.group not in side_of}
    validated = sum(side_of.get(record.group) == "val" for record in learnt)
    if validated:
        known = {group: side == "val" for group, side in side_of.items()}
        share = validated / sum(record.group in side_of for record in learnt)
        _, held_out = hold_out(learnt, fraction=share, rng=rng, known=known)
        side_of |= {r.group: "val" for r in held_out if r.group not in side_of}
    for name in added:
        sides.setdefault(name, {})[number] = side_of.get(everybody[name].group, "train")


def _class_of(name: str) -> str:
    return name.partition("/")[0]
