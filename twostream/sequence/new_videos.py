"""Videos for a trained network: those of a list, with or without glosses, or all of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flow_extract.find_videos import as_text, find_videos
from twostream.errors import InputError, some_of
from twostream.sequence.lists import PICTURES, check_unique_names, read_list
from twostream.sequence.records import SequenceRecord
from twostream.sequence.vocabulary import unknown_glosses


def find_new_videos(videos: Path, file: Path | None) -> tuple[SequenceRecord, ...]:
    """The videos of a list, or all video files and folders of pictures below `videos`.

    Raises:
        InputError: a bad list, no video, or a video that cannot be used; it is named.
    """
    if file is not None:
        records = read_list(file, videos, labelled=False)
        check_unique_names(records)
        return records
    files = find_videos(videos, store=videos)
    if unusable := files.refused | files.skipped:
        texts = [f"{name} ({reason})" for name, reason in unusable.items()]
        raise InputError(f"{videos}: {some_of(texts, limit=3)}; fix it, or leave it out by a list")
    folders = {path.parent for pattern in PICTURES for path in videos.rglob(pattern)} - {videos}
    paths = {as_text(folder.relative_to(videos)): folder for folder in folders} | files.videos
    if not paths:
        raise InputError(f"{videos}: no video and no folder of pictures below it")
    return tuple(SequenceRecord(name, paths[name], ()) for name in sorted(paths))


def check_glosses(
    records: Sequence[SequenceRecord], vocabulary: Sequence[str], *, run: Path
) -> list[str]:
    """The glosses of the records that the network cannot produce: each is an error in the rate.

    Raises:
        InputError: it can produce none of them.
    """
    unknown = unknown_glosses(records, vocabulary)
    if unknown and not any(set(record.glosses) & set(vocabulary) for record in records):
        raise InputError(
            f"{run} knows none of the glosses of the list ({some_of(unknown, limit=3)}), only "
            f"{some_of(vocabulary, limit=3)}: it was trained with another vocabulary. Give a list "
            "in its vocabulary, or one without glosses"
        )
    return unknown
