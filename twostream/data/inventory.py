"""A data set's lists held against the videos on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flow_extract.video.find_videos import find_videos
from twostream.data.records import Split, VideoRecord
from twostream.data.splits import SPLITS, read_split
from twostream.data.stored import match_names


def take_inventory(dataset: str, videos: Path, annotations: Path, *, store: Path) -> dict[str, Any]:
    """Compare every split that has lists with the folder of videos.

    Returns:
        JSON values: `classes`, `videos` (listed ones found), `splits` (train, test and missing
        counts of each), the names that are `missing` or `unlisted`, the files that are `ignored` as
        no videos, and those `refused` with the reason.

    Raises:
        InputError: the lists are wrong; see `twostream.data.splits`.
    """
    splits = {
        number: read_split(dataset, annotations, split=number)
        for number in _split_numbers(dataset, annotations)
    }
    on_disk = find_videos(videos, store=store)
    listed = sorted({record.name for split in splits.values() for record in _all(split)})
    found = match_names(listed, list(on_disk.videos))
    return {
        "dataset": dataset,
        "classes": len(next(iter(splits.values())).class_names),
        "videos": len(found),
        "splits": [
            {
                "split": number,
                "train": len(split.train),
                "test": len(split.test),
                "missing": sum(record.name not in found for record in _all(split)),
            }
            for number, split in splits.items()
        ],
        "missing": [name for name in listed if name not in found],
        "unlisted": sorted(set(on_disk.videos) - set(found.values())),
        "ignored": on_disk.ignored,
        "refused": {**on_disk.refused, **on_disk.skipped},
    }


def _split_numbers(dataset: str, annotations: Path) -> tuple[int, ...]:
    """Three splits where a data set has them; of one's own those with lists, the first at least."""
    if dataset in ("ucf101", "hmdb51", "toy"):
        return SPLITS
    there = [k for k in SPLITS if (annotations / f"trainlist{k:02d}.txt").exists()]
    return tuple(there) if dataset == "folder" and there else SPLITS[:1]


def _all(split: Split) -> tuple[VideoRecord, ...]:
    return (*split.train, *split.test)
