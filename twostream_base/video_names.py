"""Video names: suffixes, matching of lists that spell them differently, and groups by name."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
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
    listed: Sequence[str],
    available: Sequence[str],
    *,
    ignore_folders: bool = False,
    moved: bool = False,
) -> dict[str, str]:
    """Find each listed name among the available ones.

    A name is found as it is spelt; else without regard to case (UCF101 spells one class
    HandstandPushups in folders and HandStandPushups in file names, and copies of it differ in
    which); else, with `ignore_folders`, by the file name alone, without a video suffix, a leading
    `v_` and case; else, with `moved`, by the rules of `_find_moved`. An available name is found
    once at most.

    Returns:
        listed name -> available name, for those that were found.

    Raises:
        InputError: a name that could be several of the available ones, or several listed names
            that could be the same one; but not by `moved`, which finds neither then.
    """
    exact = set(available)
    places = {name: name for name in listed if name in exact}
    rules: list[tuple[Callable[[str], str], str]] = [(str.casefold, "case")]
    if ignore_folders:
        rules.append((_file_name, "folder, suffix or case"))
    for key_of, difference in rules:
        candidates: dict[str, list[str]] = defaultdict(list)
        for name in available:
            candidates[key_of(name)].append(name)
        times = Counter(map(key_of, listed))
        used = set(places.values())
        for name in listed:
            matches = candidates.get(key_of(name), [])
            if name in places or not set(matches) - used:
                continue
            if len(matches) > 1 or times[key_of(name)] > 1:
                raise InputError(
                    f"{name} could be any of {some_of(matches)}, or another listed name could; "
                    f"they differ only in {difference}: rename all but one"
                )
            places[name] = matches[0]
    return places | (_find_moved(listed, available, places) if moved else {})


# A file name of fewer letters, such as clip_0001, may be another video's in another folder. That of
# a YouTube id has 11.
LONG_NAME = 11


def _find_moved(
    listed: Sequence[str], available: Sequence[str], places: Mapping[str, str]
) -> dict[str, str]:
    """Names that lie below other folders than listed: downloads are unpacked in many ways.

    With a suffix that is no file's (a folder of pictures called `clip.mp4`, listed as such, as
    lists are read without suffixes); with folders more or fewer in front (`train/run/a`, `a` for
    `run/a`); else by a long file name, with or without the times of a clip of Kinetics
    (`<id>_000010_000020`). Each only where one listed and one available name fit.
    """
    moved: dict[str, str] = {}

    def match(keys_of_listed: Callable[[str], list[str]], keys: Callable[[str], list[str]]) -> None:
        used = {*places.values(), *moved.values()}
        listed_by_key, available_by_key = defaultdict(set), defaultdict(set)
        for name in listed:
            for key in keys_of_listed(name) if name not in places and name not in moved else ():
                listed_by_key[key].add(name)
        for name in available:
            for key in keys(name) if name not in used else ():
                available_by_key[key].add(name)
        for key in sorted(listed_by_key.keys() & available_by_key.keys(), key=len, reverse=True):
            if len(listed_by_key[key]) == len(available_by_key[key]) == 1:
                (name,), (place,) = listed_by_key[key], available_by_key[key]
                if name not in moved and place not in used:
                    moved[name] = place
                    used.add(place)

    def whole(name: str) -> list[str]:
        return [name.casefold()]

    def tails(name: str) -> list[str]:
        parts = name.casefold().split("/")
        return ["/".join(parts[depth:]) for depth in range(1, len(parts))]

    def file_name(name: str) -> list[str]:
        last = name.rpartition("/")[2]
        return [last] if len(last) >= LONG_NAME else []

    def youtube_id(name: str) -> list[str]:
        return [re.sub(r"_\d{6}_\d{6}$", "", last) for last in file_name(name)]

    def bare(name: str) -> list[str]:  # a folder of pictures, or a file clip.mp4.avi
        return [without_suffix(name.casefold())]

    match(whole, bare)
    match(whole, tails)
    match(tails, whole)
    match(file_name, file_name)
    match(youtube_id, file_name)
    return moved


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
