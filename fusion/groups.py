"""Videos that belong together (one scene, one film), and folds that never part them."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from twostream.errors import InputError, some_of
from twostream.files import read_text


def ucf101_group(name: str) -> str:
    """The scene of `Class/v_Class_g02_c03`: `g01` to `g25` of a class (Soomro et al., 2012)."""
    scene = re.search(r"([^/]+_g\d+)_c\d+$", name)
    if not scene:
        raise InputError(f"{name!r} is no UCF101 name (..._g02_c03); give other --groups")
    return scene[1].casefold()


def hmdb51_group(name: str) -> str:
    """The film of `class/film_class_h_cm_np1_ri_goo_0` (Kuehne et al., ICCV 2011)."""
    folder, _, video = name.rpartition("/")
    film, found, _ = video.partition(f"_{folder.rpartition('/')[2]}_")
    if not found:
        raise InputError(f"{name!r} is no HMDB51 name (class/film_class_...); give other --groups")
    return film


GROUPINGS: dict[str, Callable[[str], str]] = {
    "ucf101": ucf101_group,
    "hmdb51": hmdb51_group,
    "video": lambda name: name,
}


def video_groups(names: Sequence[str], how: str | None, *, dataset: str | None) -> list[str]:
    """The group of each video.

    `how` is a name of `GROUPINGS` (by default that of the data set), a CSV file of lines
    `name,group`, or a regular expression whose brackets catch the group in a name.

    Raises:
        InputError: groups are not known, or not for every video.
    """
    how = how or (dataset if dataset in GROUPINGS else None)
    if how is None:
        raise InputError(
            f"which videos belong together is not known (data set {dataset or 'not known'}): give "
            f"--groups {', '.join(GROUPINGS)}, a CSV file of lines name,group, or a pattern as "
            "'_(g[0-9]+)_'; `video` where each one stands alone"
        )
    if how in GROUPINGS:
        return [GROUPINGS[how](name) for name in names]
    return _listed(names, Path(how)) if how.endswith(".csv") else _matched(names, how)


def grouped_folds(groups: Sequence[str], labels: np.ndarray, *, count: int = 5) -> np.ndarray:
    """The fold 0..count-1 of each video, int64 (V,): a group is never parted, classes are spread.

    The largest group first, each goes where its classes are rarest so far. The order of the videos
    is irrelevant.

    Raises:
        InputError: fewer groups than folds, or fewer than 2 folds.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for video, group in enumerate(groups):
        members[group].append(video)
    if not 2 <= count <= len(members):
        raise InputError(f"{count} folds of {len(members)} groups; allowed: 2..{len(members)}")
    folds = np.empty(len(groups), dtype=np.int64)
    held = np.zeros((count, int(labels.max(initial=0)) + 2), dtype=np.int64)  # labels may be -1
    for group in sorted(members, key=lambda group: (-len(members[group]), group)):
        added = np.bincount(labels[members[group]] + 1, minlength=held.shape[1])
        crowding = held @ added
        fold = min(range(count), key=lambda fold: (crowding[fold], held[fold].sum(), fold))
        held[fold] += added
        folds[members[group]] = fold
    return folds


def _listed(names: Sequence[str], path: Path) -> list[str]:
    rows = [row for row in csv.reader(io.StringIO(read_text(path))) if row]
    if odd := [",".join(row) for row in rows if len(row) != 2]:
        raise InputError(f"{path}: expected lines name,group; not so: {some_of(odd)}")
    if doubled := [name for name, times in Counter(name for name, _ in rows).items() if times > 1]:
        raise InputError(f"{path}: more than once: {some_of(doubled)}")
    groups = dict(rows)
    if missing := [name for name in names if name not in groups]:
        raise InputError(f"{path}: no group for {len(missing)} videos: {some_of(missing)}")
    return [groups[name] for name in names]


def _matched(names: Sequence[str], pattern: str) -> list[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--groups {pattern!r}: no regular expression ({error})") from None
    found = [expression.search(name) for name in names]
    if missing := [name for name, match in zip(names, found, strict=True) if not match]:
        raise InputError(f"--groups {pattern!r} finds nothing in {some_of(missing)}")
    return ["|".join(match.groups(default="") or (match[0],)) for match in found if match]
