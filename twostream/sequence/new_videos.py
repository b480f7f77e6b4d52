"""Videos for a trained network: of a list, with glosses or without, or all of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flow_extract.find_videos import as_text, find_videos
from twostream.errors import InputError, some_of
from twostream.sequence.lists import PICTURES, check_once, read_list
from twostream.sequence.records import SequenceRecord
from twostream.sequence.vocabulary import unknown_glosses


def find_records(videos: Path, file: Path | None) -> tuple[SequenceRecord, ...]:
    """The videos of a list, or all video files and folders of pictures below `videos`.

    Raises:
        InputError: a bad list, no video, or one that cannot be taken; it is named.
    """
    if file is not None:
        records = read_list(file, videos, labelled=False)
        check_once(records)
        return records
    found = find_videos(videos, store=videos)
    if bad := found.refused | found.skipped:
        texts = [f"{name} ({reason})" for name, reason in bad.items()]
        raise InputError(f"{videos}: {some_of(texts, limit=3)}; mend it, or leave it out by a list")
    folders = {path.parent for pattern in PICTURES for path in videos.rglob(pattern)} - {videos}
    places = {as_text(folder.relative_to(videos)): folder for folder in folders} | found.videos
    if not places:
        raise InputError(f"{videos}: no video and no folder of pictures below it")
    return tuple(SequenceRecord(name, places[name], ()) for name in sorted(places))


def check_glosses(
    records: Sequence[SequenceRecord], vocabulary: Sequence[str], *, run: Path
) -> list[str]:
    """The glosses of the records that the network cannot say: each is an error in the rate.

    Raises:
        InputError: it can say none of them.
    """
    unknown = unknown_glosses(records, vocabulary)
    if unknown and not any(set(record.glosses) & set(vocabulary) for record in records):
        raise InputError(
            f"{run} knows none of the glosses of the list ({some_of(unknown, limit=3)}), but "
            f"{some_of(vocabulary, limit=3)}: it was trained with another vocabulary. Give a list "
            "in its words, or one without glosses"
        )
    return unknown
