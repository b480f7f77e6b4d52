"""Sequence score files: a stream's log-probabilities for each video and time step.

On disk: safetensors with `log_probs` float32 (sum of time steps, classes) and `lengths` int64 (V,),
and one JSON text in the header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twostream.sequence.lists import SequenceRecord
from twostream_base.tensor_file import FileType, read_tensor_file, write_tensor_file

SEQUENCE_FILE = FileType(
    "file of sequence scores",
    key="twostream-sequences",
    format=1,
    required={
        "names": list, "vocabulary": list, "references": list, "about": dict, "sha256": dict
    },
    cure="copy it again; `twostream train-sequence` writes them to RUN/scores/",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SequenceScores:
    """The scores of one stream for some videos.

    Attributes:
        names: V video names, each once.
        vocabulary: glosses; class 0 is the blank, gloss g is class g + 1.
        log_probs: for each video float32 (time steps, 1 + glosses), natural logarithm.
        references: for each video the glosses that were signed; empty where they are not known.
        metadata: JSON values: stream, data set, subset, network, epoch, ...
    """

    names: tuple[str, ...]
    vocabulary: tuple[str, ...]
    log_probs: list[np.ndarray]
    references: list[list[str]]
    metadata: dict[str, Any]


def make_scores(
    records: Sequence[SequenceRecord],
    log_probs: Mapping[int, np.ndarray],
    *,
    vocabulary: tuple[str, ...],
    metadata: dict[str, Any],
) -> SequenceScores:
    """Scores of `records`, whose log-probabilities come by their index."""
    return SequenceScores(
        names=tuple(record.name for record in records),
        vocabulary=vocabulary,
        log_probs=[log_probs[index] for index in range(len(records))],
        references=[list(record.glosses) for record in records],
        metadata=metadata,
    )


def is_up_to_date(path: Path, records: Sequence[SequenceRecord], metadata: dict[str, Any]) -> bool:
    """Whether `path` has the scores of just these records, with this metadata."""
    if not path.is_file():
        return False
    scores = read_sequence_scores(path)
    sentences = [(record.name, list(record.glosses)) for record in records]
    same_sentences = list(zip(scores.names, scores.references, strict=True)) == sentences
    return same_sentences and scores.metadata == json.loads(json.dumps(metadata))


def write_sequence_scores(path: Path, scores: SequenceScores) -> None:
    """Write a score file; the same scores give the same bytes."""
    classes = len(scores.vocabulary) + 1
    tensors = {
        "log_probs": np.concatenate([np.zeros((0, classes), np.float32), *scores.log_probs]),
        "lengths": np.array([len(rows) for rows in scores.log_probs], dtype=np.int64),
    }
    header = {
        "names": scores.names,
        "vocabulary": scores.vocabulary,
        "references": scores.references,
        "about": scores.metadata,
    }
    write_tensor_file(path, SEQUENCE_FILE, header, tensors)


def read_sequence_scores(path: Path) -> SequenceScores:
    """Read a score file and verify its checksums.

    Raises:
        InputError: not a sequence score file, of another format, or damaged; the file is named.
    """
    header, tensors = read_tensor_file(path, SEQUENCE_FILE, ("lengths", "log_probs"))
    ends = np.cumsum(tensors["lengths"])
    return SequenceScores(
        names=tuple(header["names"]),
        vocabulary=tuple(header["vocabulary"]),
        log_probs=np.split(tensors["log_probs"], ends[:-1]) if len(ends) else [],
        references=header["references"],
        metadata=header["about"],
    )
