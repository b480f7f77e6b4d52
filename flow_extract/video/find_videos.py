"""Finding the videos below a folder, by name, and saying what was left out."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from flow_extract.store.reader import PROBLEM_SUFFIX, entry_path
from flow_extract.video.decode import has_video
from twostream_base.errors import InputError, some_of
from twostream_base.video_names import SUFFIXES, without_suffix

MAX_FILE_NAME = 255
# Files of other suffixes than a video's are opened to see what they hold, but for these.
NO_VIDEOS = {
    "bmp", "csv", "gz", "jpeg", "jpg", "json", "md", "npy", "npz", "pkl", "png", "py", "tar",
    "toml", "txt", "webp", "xml", "yaml", "zip",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundVideos:
    """What is below a video root.

    Attributes:
        videos: name -> file, sorted by name.
        refused: name -> reason: videos that cannot have a place in the store.
        skipped: path below the root -> reason: what has a video's suffix but is no file, and
            folder links that lead back to where they are.
        ignored: path below the root -> reason: other files.
    """

    videos: dict[str, Path] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)


def find_videos(root: str | PathLike[str], *, store: str | PathLike[str]) -> FoundVideos:
    """Find all videos below `root`, through folder links too, in the order of their names.

    Files of an unknown suffix are opened: a video among them keeps its suffix in its name.

    Raises:
        InputError: `root` is no folder.
    """
    root, store = Path(root), Path(store)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder of videos")
    found = FoundVideos()
    candidates: dict[str, list[Path]] = defaultdict(list)
    for path in _files_below(root, found.skipped, root=root):
        key = as_text(path.relative_to(root))
        suffix = path.suffix.lower()[1:]
        if path.name.startswith("."):
            found.ignored[key] = "hidden"
        elif suffix in NO_VIDEOS:
            found.ignored[key] = f"a .{suffix} file"
        elif suffix not in SUFFIXES and not (path.is_file() and has_video(path)):
            found.ignored[key] = "no video by its content"
        elif not path.is_file():
            dangling = path.is_symlink() and not path.exists()
            found.skipped[key] = "a link to nothing" if dangling else "not a regular file"
        elif key != path.relative_to(root).as_posix():
            found.refused[key] = "its name is not UTF-8; rename it"
        else:
            candidates[without_suffix(key)].append(path)
    for name in sorted(candidates):
        paths = candidates[name]
        excess = len(name.rpartition("/")[2].encode()) + len(PROBLEM_SUFFIX) - MAX_FILE_NAME
        if len(paths) > 1:
            files = ", ".join(path.name for path in paths)
            found.refused[name] = f"{files} would share one name; rename or remove all but one"
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
        others = f"; other files: {some_of(list(found.ignored))}" if found.ignored else ""
        raise InputError(f"{root}: no video below this folder{others}")
    return found


def as_text(path: Path) -> str:
    """A path with `/`, in which bytes that are no UTF-8 text are escaped."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _files_below(
    folder: Path, skipped: dict[str, str], *, root: Path, inside: frozenset[str] = frozenset()
) -> Iterator[Path]:
    """Everything that is no folder; `inside` are the real paths of the folders we are in."""
    here = os.path.realpath(folder)
    if here in inside:
        skipped[as_text(folder.relative_to(root))] = "a link back to a folder above it"
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if os.path.isdir(entry):  # unlike entry.is_dir(): no error for a link to itself
            yield from _files_below(Path(entry), skipped, root=root, inside=inside | {here})
        else:
            yield Path(entry)
