"""Recognising the data set that a folder of videos is, by its lists or by its class folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flow_extract.video.find_videos import require_videos
from twostream.data.make_lists import find_groups, read_all_splits
from twostream.data.splits import DATASETS, SPLITS, VideoRecord, known_groups
from twostream_base.errors import InputError, some_of
from twostream_base.video_names import match_names, ucf101_group

# Names as UCF101's, v_Class_g01_c02: clips of one scene.
UCF101_PATTERN = "_(g[0-9]+)_c[0-9]+$"
MADE_OF_FOLDERS = ("folder", "toy", "toy-long", "toy-where")  # of which no lists are published


@dataclass(frozen=True, slots=True)
class Recognised:
    """What is known of a data set before anything is written.

    Attributes:
        dataset: key of DATASETS.
        why: what it was recognised by, in words.
        videos: name -> file or folder of pictures.
        train, test: how many videos of the first split are there; of lists that are yet to be made,
            None.
        classes: how many.
        splits: numbers of the splits that there are.
        groups: how groups of videos are known where no list tells them, in words; else empty.
        group_pattern: for `init`, where the names tell the groups and no list does; else empty.
        group_file: for `init`, where a CSV file beside the videos does: the file and its column.
    """

    dataset: str
    why: str
    videos: dict[str, Path]
    train: int | None
    test: int | None
    classes: int
    splits: tuple[int, ...]
    groups: str = ""
    group_pattern: str = ""
    group_file: tuple[str, str] | None = None


def recognise(
    videos: Path, annotations: Path | None, *, store: Path, dataset: str | None = None
) -> Recognised:
    """Find out what the videos below a folder are.

    Args:
        annotations: folder of their lists; None for videos in one folder a class.
        dataset: what the lists are, where the user says so.
        store: where frames and flow will lie; it is no part of the videos.

    Raises:
        InputError: the lists are of no known kind, or there are neither lists nor class folders.
    """
    videos_below = require_videos(videos, store=store).videos
    if annotations is not None:
        return _by_lists(videos_below, annotations, dataset)
    loose = [name for name in videos_below if "/" not in name]
    if loose:
        raise InputError(
            f"{videos}: no labels: {some_of(loose, limit=3)} "
            f"{'lies' if len(loose) == 1 else 'lie'} in no class folder. Sort the videos into one "
            "folder a class, or give --annotations, the folder of their lists. Without labels "
            "nothing can be trained; `twostream predict` recognises them with networks that are "
            "trained already"
        )
    classes = {name.partition("/")[0] for name in videos_below}
    if len(classes) == 1:
        raise InputError(
            f"{videos}: the only class folder is {classes.pop()}; at least 2 classes are needed. "
            "Give the folder in which the class folders lie"
        )
    tells_groups = all(ucf101_group(name) for name in videos_below)
    group_file = None if tells_groups else find_groups(videos, list(videos_below))
    groups = "clips of scenes by their names" if tells_groups else ""
    if group_file:
        file, column = group_file
        groups = f"groups by {column} of {file}"
    return Recognised(
        "folder",
        "one folder a class",
        videos_below,
        train=None,
        test=None,
        classes=len(classes),
        splits=SPLITS,
        groups=groups,
        group_pattern=UCF101_PATTERN if tells_groups else "",
        group_file=group_file,
    )


def _by_lists(videos: dict[str, Path], annotations: Path, dataset: str | None) -> Recognised:
    published = [name for name in DATASETS if name not in MADE_OF_FOLDERS]
    for name in [dataset] if dataset else published:
        try:
            splits = read_all_splits(name, annotations)
        except InputError:
            if dataset:
                raise
            continue
        split = splits[min(splits)]
        # UCF101's list files are also the ones that `init` writes for any folder of videos.
        is_own = name == "ucf101" and not dataset and known_groups(split.records) is None
        return Recognised(
            "folder" if is_own else name,
            f"lists in {annotations}",
            videos,
            train=_count(split.train, videos),
            test=_count(split.test, videos),
            classes=len(split.class_names),
            splits=tuple(splits),
        )
    files = sorted(path.name for path in annotations.iterdir())
    raise InputError(
        f"{annotations} holds the lists of no data set that is known ({', '.join(published)}), but "
        f"{some_of(files, limit=5) or 'nothing'}; give --dataset NAME to read what is wrong with "
        "them. Lists of your own: train.txt and test.txt, lines of `path label`, labels from 0"
    )


def _count(listed: Sequence[VideoRecord], videos: Mapping[str, Path]) -> int:
    """How many of the listed videos there are."""
    try:
        return len(match_names([record.name for record in listed], list(videos), moved=True))
    except InputError:  # names that could be several: training will say which
        return min(len(listed), len(videos))
