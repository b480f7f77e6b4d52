"""The records of a sequence data set: a video and the glosses that are signed in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SUBSETS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class SequenceRecord:
    """One video and its sentence.

    Attributes:
        name: the key in score files and transcripts.
        frames: a folder of pictures, one a frame in the order of their names, or a video file.
        glosses: in the order in which they are signed; empty where they are not known.
    """

    name: str
    frames: Path
    glosses: tuple[str, ...]


SequenceLists = dict[str, tuple[SequenceRecord, ...]]  # subset -> records
