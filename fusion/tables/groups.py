"""Groups of videos, the scene, film or source of each, and folds that keep them together."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from twostream_base.errors import InputError, some_of
from twostream_base.text import read_csv
from twostream_base.video_names import hmdb51_group, ucf101_group

# Data sets whose video names tell the group.
RULES: dict[str, Callable[[str], str | None]] = {"ucf101": ucf101_group, "hmdb51": hmdb51_group}
GROUPINGS: dict[str, Callable[[str], str | None]] = {**RULES, "video": lambda name: name}


def video_groups(
    names: Sequence[str], how: str | None = None, *, dataset: str | None = None
) -> list[str]:
    """The group of each video: its scene, film or source.

    Args:
        how: a name of `GROUPINGS` (by default that of the data set), a CSV file of lines
            `name,group`, or a regular expression whose brackets catch the group in a name.

    Raises:
        InputError: the groups are not known, or not for every video.
    """
    how = how or (dataset if dataset in RULES else None)
    if how is None:
        raise InputError(
            f"which videos belong together is not known (data set {dataset or 'not known'}): give "
            f"--groups {', '.join(GROUPINGS)}, a CSV file of lines name,group, or a pattern as "
            "'_(g[0-9]+)_'; `video` where each video is a group of its own"
        )
    group_of: Callable[[str], str | None]
    if how in GROUPINGS:
        group_of = GROUPINGS[how]
    elif how.endswith(".csv"):
        group_of = _read_groups(Path(how)).get
    else:
        try:
            pattern = re.compile(how)
        except re.error as error:
            raise InputError(f"--groups {how!r}: not a regular expression ({error})") from None

        def group_of(name: str) -> str | None:
            match = pattern.search(name)
            return "|".join(match.groups(default="") or (match[0],)) if match else None

    groups = [group_of(name) for name in names]
    if missing := [name for name, group in zip(names, groups, strict=True) if group is None]:
        raise InputError(
            f"--groups {how}: no group for {len(missing)} of {len(names)} videos: "
            f"{some_of(missing)}"
        )
    return [group for group in groups if group is not None]


def _read_groups(path: Path) -> dict[str, str]:
    """Groups by video name, of a CSV file of lines `name,group`."""
    rows = read_csv(path)
    if malformed := [",".join(row) for row in rows if len(row) != 2]:
        raise InputError(f"{path}: expected lines name,group; not so: {some_of(malformed)}")
    if doubled := [name for name, times in Counter(name for name, _ in rows).items() if times > 1]:
        raise InputError(f"{path}: more than once: {some_of(doubled)}")
    return dict(rows)


def grouped_folds(groups: Sequence[str], labels: np.ndarray, *, count: int = 5) -> np.ndarray:
    """The fold 0..count-1 of each video, int64 (V,); no group is split, and classes are spread.

    Groups are taken by size, largest first; each goes where its classes are rarest so far. The
    order of the videos has no effect.

    Raises:
        InputError: fewer groups than folds, or fewer than 2 folds.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for video, group in enumerate(groups):
        members[group].append(video)
    if len(members) < 2:
        raise InputError(
            f"{count} folds of {len(members)} group: none would be left to fit on; give other "
            "--groups, or fit on validation scores"
        )
    if not 2 <= count <= len(members):
        raise InputError(
            f"{count} folds of {len(members)} groups; allowed: 2..{len(members)} (--folds)"
        )
    folds = np.empty(len(groups), dtype=np.int64)
    counts = np.zeros((count, int(labels.max(initial=0)) + 2), dtype=np.int64)  # labels may be -1
    for group in sorted(members, key=lambda group: (-len(members[group]), group)):
        added = np.bincount(labels[members[group]] + 1, minlength=counts.shape[1])
        crowding = counts @ added
        fold = min(range(count), key=lambda fold: (crowding[fold], counts[fold].sum(), fold))
        counts[fold] += added
        folds[members[group]] = fold
    return folds
