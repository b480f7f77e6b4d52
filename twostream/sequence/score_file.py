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
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from twostream.errors import InputError
from twostream.files import atomic_path, sha256_bytes
from twostream.sequence.records import SequenceRecord

FORMAT = 1
HEADER_KEY = "twostream-sequences"


@dataclass(frozen=True, eq=False)
class SequenceScores:
    """What one stream says of videos.

    Attributes:
        names: V video names, each once.
        vocabulary: glosses; class 0 is the blank, gloss g is class g + 1.
        log_probs: for each video float32 (time steps, 1 + glosses), natural logarithm.
        references: for each video the glosses that were signed; empty where nobody has told.
        about: what else is known, as JSON values: stream, data set, subset, network, epoch, ...
    """

    names: tuple[str, ...]
    vocabulary: tuple[str, ...]
    log_probs: list[np.ndarray]
    references: list[list[str]]
    about: dict[str, Any]


def scores_of(
    records: Sequence[SequenceRecord],
    log_probs: Mapping[int, np.ndarray],
    *,
    vocabulary: tuple[str, ...],
    about: dict[str, Any],
) -> SequenceScores:
    """Scores of `records`, whose log-probabilities come by their index."""
    return SequenceScores(
        names=tuple(record.name for record in records),
        vocabulary=vocabulary,
        log_probs=[log_probs[index] for index in range(len(records))],
        references=[list(record.glosses) for record in records],
        about=about,
    )


def holds_scores(path: Path, records: Sequence[SequenceRecord], about: dict[str, Any]) -> bool:
    """Whether `path` has the scores of these very records, and says `about` of itself."""
    if not path.is_file():
        return False
    held = read_sequence_scores(path)
    wanted = [(record.name, list(record.glosses)) for record in records]
    same = list(zip(held.names, held.references, strict=True)) == wanted
    return same and held.about == json.loads(json.dumps(about))


def write_sequence_scores(path: Path, scores: SequenceScores) -> None:
    """Write a score file; the same scores give the same bytes."""
    classes = len(scores.vocabulary) + 1
    tensors = {
        "log_probs": np.concatenate([np.zeros((0, classes), np.float32), *scores.log_probs]),
        "lengths": np.array([len(rows) for rows in scores.log_probs], dtype=np.int64),
    }
    header = {
        "format": FORMAT,
        "names": scores.names,
        "vocabulary": scores.vocabulary,
        "references": scores.references,
        "about": scores.about,
        "sha256": {key: sha256_bytes(tensor.data) for key, tensor in tensors.items()},
    }
    text = json.dumps(header, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={HEADER_KEY: text}))


def read_sequence_scores(path: Path) -> SequenceScores:
    """Read a score file and verify all of it.

    Raises:
        InputError: not a sequence score file, of another format, or damaged; the file is named.
    """
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {})[HEADER_KEY])
            tensors = {key: file.get_tensor(key) for key in ("lengths", "log_probs")}
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path}: not a file of sequence scores ({error}); `twostream train-sequence` writes "
            "them to RUN/scores/"
        ) from None
    if header.get("format") != FORMAT:
        raise InputError(f"{path}: format {header.get('format')!r}; this version reads {FORMAT}")
    if {key: sha256_bytes(tensor.data) for key, tensor in tensors.items()} != header["sha256"]:
        raise InputError(f"{path}: does not fit its checksums; the file is damaged, copy it again")
    ends = np.cumsum(tensors["lengths"])
    return SequenceScores(
        names=tuple(header["names"]),
        vocabulary=tuple(header["vocabulary"]),
        log_probs=np.split(tensors["log_probs"], ends[:-1]) if len(ends) else [],
        references=header["references"],
        about=header["about"],
    )
