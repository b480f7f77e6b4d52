"""Finding the videos below a folder, by name, and saying what was left out."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from flow_extract.store.reader import PROBLEM_SUFFIX, entry_path
from flow_extract.video.decode import why_no_video
from flow_extract.video.frames import VideoError
from flow_extract.video.pictures import PICTURE_SUFFIXES, is_numbered_picture, number_pictures
from twostream_base.errors import InputError, some_of
from twostream_base.files import names_are_one, why_address
from twostream_base.video_names import SUFFIXES, without_suffix

MAX_FILE_NAME = 255
NOT_UTF8 = "its name is not UTF-8; rename it"
# Files of other suffixes than a video's are opened to see what they hold, but for these.
NO_VIDEOS = PICTURE_SUFFIXES | {
    "csv", "gz", "json", "md", "npy", "npz", "pkl", "py", "tar", "toml", "txt", "xml", "yaml", "zip"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundVideos:
    """What is below a video root.

    Attributes:
        videos: name -> file, or folder of numbered pictures; sorted by name.
        refused: name -> reason: videos that cannot have a place in the store.
        skipped: path below the root -> reason: broken links, what is no regular file or cannot be
            read, and folder links that lead back to where they are.
        ignored: path below the root -> reason: other files.
    """

    videos: dict[str, Path] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)


def find_videos(root: str | PathLike[str], *, store: str | PathLike[str]) -> FoundVideos:
    """Find all videos below `root`, through folder links too, in the order of their names.

    What is hidden, a file, folder or link whose name begins with a dot, is passed over.
    A folder with numbered pictures and no video file is a video, with the folder's path as its
    name; but not `root` itself. Files of an unknown suffix are opened: a video among them keeps its
    suffix in its name.

    Raises:
        InputError: `root` is no folder.
    """
    root, store = Path(root), Path(store)
    if not root.is_dir():
        raise InputError(f"{root}: {why_address(root) or 'no such folder of videos'}")
    found = FoundVideos()
    candidates: dict[str, list[Path]] = defaultdict(list)
    for folder, files in _folders_below(root, found, root=root):
        pictures = [name for name in files if folder != root and is_numbered_picture(name)]
        if any(_suffix(name) in SUFFIXES for name in files.keys() - set(pictures)):
            pictures = []  # beside videos
        if pictures:
            key = as_text(folder.relative_to(root))
            there = [name for name in pictures if files[name].is_file()]
            if lost := sorted(set(pictures) - set(there)):
                found.skipped[key] = (
                    f"{len(lost):,} of {len(pictures):,} pictures are broken links, or no "
                    f"files: {some_of(lost)}"
                )
            if there and (reason := _why_no_video(folder, there, root=root)):
                found.refused[key] = reason
            elif there:
                candidates[without_suffix(key)].append(folder)
        for name in sorted(files.keys() - set(pictures)):
            path = folder / name
            key, suffix = as_text(path.relative_to(root)), _suffix(name)
            if files[name].is_symlink() and not path.exists():
                found.skipped[key] = "a broken link"  # whatever its suffix: of a folder, maybe
            elif suffix in NO_VIDEOS:
                found.ignored[key] = f"a .{suffix} file"
            elif not path.is_file():
                found.skipped[key] = "not a regular file"
            elif suffix not in SUFFIXES and (reason := why_no_video(path)):
                unread = reason.startswith("cannot be read")
                (found.skipped if unread else found.ignored)[key] = reason
            elif key != path.relative_to(root).as_posix():
                found.refused[key] = NOT_UTF8
            else:
                candidates[without_suffix(key)].append(path)
    as_one = names_are_one(store)
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in sorted(candidates):
        spellings[as_one(name)].append(name)
    for name in sorted(candidates):
        paths = candidates[name]
        if len(paths) > 1 and (files_alone := [path for path in paths if not path.is_dir()]):
            for path in set(paths) - set(files_alone):
                text = f"pictures beside {files_alone[0].name}, which is the video"
                found.ignored[as_text(path.relative_to(root))] = text
            paths = files_alone
        excess = len(name.rpartition("/")[2].encode()) + len(PROBLEM_SUFFIX) - MAX_FILE_NAME
        if len(paths) > 1:
            listed = ", ".join(path.name for path in paths)
            found.refused[name] = f"{listed} would share one name; rename or remove all but one"
        elif others := [other for other in spellings[as_one(name)] if other != name]:
            found.refused[name] = (
                f"it and {some_of(others)} would be one file of the store, where case makes no "
                "difference; rename all but one"
            )
        elif excess > 0:
            found.refused[name] = (
                f"its name is {excess} byte(s) too long for a store file; shorten it"
            )
        else:
            try:
                entry_path(store, name)
                found.videos[name] = paths[0]
            except InputError as error:
                found.refused[name] = str(error)
    return found


def require_videos(root: str | PathLike[str], *, store: str | PathLike[str]) -> FoundVideos:
    """As `find_videos`, but an InputError where there is no video."""
    found = find_videos(root, store=store)
    if not found.videos and not found.refused:
        if any(map(is_numbered_picture, os.listdir(root))):
            raise InputError(
                f"{root}: the pictures in this folder itself are one video; give the folder above "
                f"it, {Path(root).absolute().parent}"
            )
        others = f"; other files: {some_of(list(found.ignored))}" if found.ignored else ""
        raise InputError(f"{root}: no video below this folder{others}")
    return found


def as_text(path: Path) -> str:
    """A path with `/`, in which bytes that are no UTF-8 text are escaped."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _why_no_video(folder: Path, pictures: list[str], *, root: Path) -> str:
    """Why a folder with numbered pictures is no video; empty if it is."""
    if as_text(folder.relative_to(root)) != folder.relative_to(root).as_posix():
        return NOT_UTF8
    try:
        number_pictures(pictures)
    except VideoError as error:
        return str(error)
    return ""


def _suffix(name: str) -> str:
    """What follows the last dot of a file name, in small letters; empty where nothing does."""
    return os.path.splitext(name)[1][1:].lower()


def _folders_below(
    folder: Path, found: FoundVideos, *, root: Path, inside: frozenset[str] = frozenset()
) -> Iterator[tuple[Path, dict[str, os.DirEntry[str]]]]:
    """Each folder, with everything in it that is no folder; those inside it come first.

    What is hidden is noted as ignored; `inside` are the real paths of the folders we are in.
    """
    here = os.path.realpath(folder)
    if here in inside:
        found.skipped[as_text(folder.relative_to(root))] = "a link back to a folder above it"
        return
    files = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            found.ignored[as_text(Path(entry).relative_to(root))] = "hidden"
        # No error for a link to itself, unlike entry.is_dir(), which is fast for all others.
        elif os.path.isdir(entry) if entry.is_symlink() else entry.is_dir():
            yield from _folders_below(Path(entry), found, root=root, inside=inside | {here})
        else:
            files[entry.name] = entry
    yield folder, files
