from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twostream.sequence.score_file import (
    SequenceScores,
    read_sequence_scores,
    write_sequence_scores,
)
from twostream_base.errors import InputError

SCORES = SequenceScores(
    names=("a", "b", "c"),
    vocabulary=("A", "B"),
    log_probs=[np.full((n, 3), -float(n), np.float32) for n in (2, 0, 3)],
    references=[["A"], [], ["B", "A"]],
    metadata={"stream": "spatial"},
)


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    write_sequence_scores(path, SCORES)
    first = path.read_bytes()
    read = read_sequence_scores(path)
    assert (read.names, read.vocabulary) == (SCORES.names, SCORES.vocabulary)
    assert (read.references, read.metadata) == (SCORES.references, SCORES.metadata)
    for ours, theirs in zip(read.log_probs, SCORES.log_probs, strict=True):
        assert np.array_equal(ours, theirs)
    write_sequence_scores(path, read)
    assert path.read_bytes() == first


def test_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    write_sequence_scores(path, SCORES)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"s.safetensors: .*`log_probs`.* checksum"):
        read_sequence_scores(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"s.safetensors: .*train-sequence"):
        read_sequence_scores(path)
