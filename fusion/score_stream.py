"""Score files larger than the memory, written from parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fusion.score_file import HEADER_KEY, ScoreTable, check_table, header_text
from twostream.errors import InputError
from twostream.files import atomic_path, sha256_bytes

SAFETENSORS_TYPES = {"int64": "I64", "float32": "F32", "float16": "F16"}


def write_scores_in_parts(path: Path, parts: Iterable[ScoreTable], *, whole: ScoreTable) -> None:
    """Write the videos of `parts`, one part after the other, as the one score file `path`.

    One part is in memory at a time. The file is the one that `write_scores` writes of all at once,
    byte for byte.

    Args:
        whole: what the file says; of its `scores` only shape and type count, so that
            `np.broadcast_to(np.float32(0), shape)` will do.

    Raises:
        InputError: a part is not sound, or the parts are not the videos of `whole` in order.
    """
    labels = np.ascontiguousarray(whole.labels)
    sums = {"labels": sha256_bytes(labels.data), "scores": "0" * 64}
    digest, done = hashlib.sha256(), 0
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(_preamble(whole, sums))
        stream.write(labels.data)
        for part in parts:
            _check_part(part, whole, done, where=str(path))
            scores = np.ascontiguousarray(part.scores)
            stream.write(scores.data)
            digest.update(scores.data)
            done += len(part.names)
        if done != len(whole.names):
            raise InputError(f"{path}: the parts hold {done} of {len(whole.names)} videos")
        stream.seek(0)
        stream.write(_preamble(whole, sums | {"scores": digest.hexdigest()}))


def _check_part(part: ScoreTable, whole: ScoreTable, begin: int, *, where: str) -> None:
    check_table(part, where=where)
    end = begin + len(part.names)
    expected = replace(whole, names=whole.names[begin:end], labels=whole.labels[begin:end])
    same = (
        (part.names, part.class_names, part.kind)
        == (expected.names, expected.class_names, expected.kind)
        and np.array_equal(part.labels, expected.labels)
        and part.scores.dtype == whole.scores.dtype
        and part.scores.shape[1:] == whole.scores.shape[1:]
    )
    if not same:
        raise InputError(f"{where}: the part of videos {begin} to {end} is not of this score file")


def _preamble(whole: ScoreTable, sums: dict[str, str]) -> bytes:
    """Length and text at the beginning of a safetensors file, as its own library writes them.

    Written here because that library wants all data in memory. Its length is the same for all sums.
    """
    table: dict[str, object] = {"__metadata__": {HEADER_KEY: header_text(whole, sums)}}
    begin = 0
    for key, tensor in (("labels", whole.labels), ("scores", whole.scores)):
        end = begin + tensor.nbytes
        table[key] = {
            "dtype": SAFETENSORS_TYPES[tensor.dtype.name],
            "shape": tensor.shape,
            "data_offsets": (begin, end),
        }
        begin = end
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
