"""Comparing the lists of a data set with the videos on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flow_extract.video.find_videos import find_videos
from twostream.data.splits import SPLITS, read_split
from twostream_base.video_names import match_names


def take_inventory(dataset: str, videos: Path, annotations: Path, *, store: Path) -> dict[str, Any]:
    """Compare every split that has lists with the folder of videos.

    Returns:
        JSON values: `classes`, `videos` (listed ones found), `splits` (train, test and missing
        counts of each), the names that are `missing` or `unlisted`, the files that are `ignored` as
        no videos, and those `refused` with the reason.

    Raises:
        InputError: the lists are wrong; see `twostream.data.splits`.
    """
    numbers: Sequence[int] = SPLITS[:1]
    if dataset in ("ucf101", "hmdb51", "toy"):
        numbers = SPLITS
    elif dataset == "folder":  # those with lists, the first at least
        numbers = [k for k in SPLITS if (annotations / f"trainlist{k:02d}.txt").exists()] or numbers
    splits = {number: read_split(dataset, annotations, split=number) for number in numbers}
    on_disk = find_videos(videos, store=store)
    records = {number: (*split.train, *split.test) for number, split in splits.items()}
    listed = sorted({record.name for subset in records.values() for record in subset})
    matches = match_names(listed, list(on_disk.videos))
    return {
        "dataset": dataset,
        "classes": len(next(iter(splits.values())).class_names),
        "videos": len(matches),
        "splits": [
            {
                "split": number,
                "train": len(split.train),
                "test": len(split.test),
                "missing": sum(record.name not in matches for record in records[number]),
            }
            for number, split in splits.items()
        ],
        "missing": [name for name in listed if name not in matches],
        "unlisted": sorted(set(on_disk.videos) - set(matches.values())),
        "ignored": on_disk.ignored,
        "refused": {**on_disk.refused, **on_disk.skipped},
    }
