"""The rows of a file are found by video name, however each tool spells it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from twostream.errors import InputError, some_of

_SUFFIX = re.compile(r"\.(avi|mp4|mkv|webm|mov|mpe?g|m4v|wmv|flv)$", re.IGNORECASE)


def without_suffix(name: str) -> str:
    """Drop the suffix of a video file, and no other."""
    return _SUFFIX.sub("", name)


def match_names(theirs: Sequence[str], listed: Sequence[str], *, path: Path) -> list[int]:
    """The row of each listed name among their names, which come from the file `path`.

    Names match without case, folder, video suffix and a leading `v_`; with their folders where they
    are the same as in the list.

    Raises:
        InputError: videos that are missing, not listed, or cannot be told apart.
    """
    exact = set(theirs) == set(listed)
    rows = _by_key(theirs, exact=exact, what=f"{path}: videos")
    wanted = _by_key(listed, exact=exact, what="listed videos")
    missing = [listed[index] for key, index in wanted.items() if key not in rows]
    extra = [theirs[index] for key, index in rows.items() if key not in wanted]
    if missing or extra:
        faults = [
            f"{len(videos)} {fault} ({some_of(videos)})"
            for fault, videos in (("missing", missing), ("not listed", extra))
            if videos
        ]
        raise InputError(
            f"{path}: not the {len(listed)} videos of the list: {'; '.join(faults)}; "
            "check --dataset, --split and --subset"
        )
    return [rows[key] for key in wanted]


def _by_key(names: Iterable[str], *, exact: bool, what: str) -> dict[str, int]:
    index: dict[str, int] = {}
    for row, name in enumerate(names):
        key = name if exact else _key(name)
        if key in index:
            raise InputError(f"{what} cannot be told apart by file name: {name!r} comes twice")
        index[key] = row
    return index


def _key(name: str) -> str:
    return without_suffix(PurePosixPath(name).name).casefold().removeprefix("v_")
