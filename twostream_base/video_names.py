"""Video names: found in another list, however it spells them, and the groups that they tell."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from twostream_base.errors import InputError, some_of

SUFFIXES = (
    "3g2", "3gp", "asf", "avi", "divx", "dv", "f4v", "flv", "gif", "m2ts", "m4v", "mkv", "mov",
    "mp4", "mpeg", "mpg", "mts", "mxf", "ogv", "rm", "rmvb", "ts", "vob", "webm", "wmv",
)  # fmt: skip


def without_suffix(name: str) -> str:
    """Drop the suffix of a video file, and no other: `clip_001.5s.avi` -> `clip_001.5s`."""
    stem, _, suffix = name.rpartition(".")
    return stem if suffix.lower() in SUFFIXES else name


def match_names(
    listed: Sequence[str], available: Sequence[str], *, ignore_folders: bool = False
) -> dict[str, str]:
    """Find each listed name among the available ones.

    A name is found as it is spelt; else without regard to case (UCF101 spells one class
    HandstandPushups in folders and HandStandPushups in file names, and copies of it differ in
    which); else, with `ignore_folders`, by the file name alone, without a video suffix, a leading
    `v_` and case. An available name is found once at most.

    Returns:
        listed name -> available name, for those that were found.

    Raises:
        InputError: a name that could be several of the available ones, or several listed names
            that could be the same one.
    """
    exact = set(available)
    found = {name: name for name in listed if name in exact}
    rules: list[tuple[Callable[[str], str], str]] = [(str.casefold, "case")]
    if ignore_folders:
        rules.append((_file_name, "folder, suffix or case"))
    for key_of, difference in rules:
        candidates: dict[str, list[str]] = defaultdict(list)
        for name in available:
            candidates[key_of(name)].append(name)
        times = Counter(map(key_of, listed))
        taken = set(found.values())
        for name in listed:
            matches = candidates.get(key_of(name), [])
            if name in found or not set(matches) - taken:
                continue
            if len(matches) > 1 or times[key_of(name)] > 1:
                raise InputError(
                    f"{name} could be any of {some_of(matches)}, or another listed name could; "
                    f"they differ only in {difference}: rename all but one"
                )
            found[name] = matches[0]
    return found


def _file_name(name: str) -> str:
    return without_suffix(PurePosixPath(name).name).casefold().removeprefix("v_")


def ucf101_group(name: str) -> str | None:
    """The scene of a UCF101 video: `Archery/v_Archery_g02_c03` -> `archery_g02`.

    A scene is one of `g01` to `g25` of a class (Soomro et al., 2012). None where the name has
    another form; lists of videos then take such a video as a group of its own, and grouped folds
    refuse it.
    """
    scene = re.search(r"([^/]+_g\d+)_c\d+$", name)
    return scene[1].casefold().removeprefix("v_") if scene else None


def hmdb51_group(name: str) -> str | None:
    """The film of an HMDB51 video: `run/Rocky_run_f_cm_np1_ri_goo_0` -> `Rocky`.

    The part of the file name before the class (Kuehne et al., ICCV 2011). None as for
    `ucf101_group`.
    """
    folder, _, video = name.rpartition("/")
    film, mark, _ = video.partition(f"_{folder.rpartition('/')[2]}_")
    return film if mark else None
