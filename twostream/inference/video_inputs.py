"""What `twostream predict` is given: video files, and folders of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flow_extract.find_videos import find_videos
from twostream.errors import InputError


@dataclass(frozen=True, slots=True)
class VideoInputs:
    """Videos to look at, and those that cannot be.

    Attributes:
        videos: as results name them -> file.
        refused: likewise -> why not.
    """

    videos: dict[str, Path] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def find_inputs(given: Sequence[str], *, workplace: Path) -> VideoInputs:
    """Resolve what the user gave: files, and folders (all videos below them).

    Args:
        workplace: folder in which their flow will be stored.

    Raises:
        InputError: no such file or folder, or a folder without videos.
    """
    inputs = VideoInputs()
    for text in given:
        path = Path(text)
        if path.is_dir():
            _add_folder(inputs, path, workplace=workplace)
        elif path.exists():
            inputs.videos[text] = path
        else:
            raise InputError(f"{text}: no such file or folder; give videos, or folders of videos")
    return inputs


def _add_folder(inputs: VideoInputs, folder: Path, *, workplace: Path) -> None:
    found = find_videos(folder, store=workplace)
    refused = found.refused | found.skipped
    if not (found.videos or refused):
        raise InputError(f"{folder}: no videos in this folder or below it")
    inputs.videos.update({str(path): path for path in found.videos.values()})
    inputs.refused.update({str(folder / name): reason for name, reason in refused.items()})
