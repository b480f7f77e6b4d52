"""Safetensors files with one tensor larger than the memory, written part by part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from twostream.files import atomic_path, sha256_bytes

SAFETENSORS_TYPES = {"int64": "I64", "float32": "F32", "float16": "F16"}

Header = Callable[[dict[str, str]], dict[str, str]]


def write_tensor_in_parts(
    path: Path,
    key: str,
    parts: Iterable[np.ndarray],
    *,
    like: np.ndarray,
    labels: np.ndarray,
    header: Header,
) -> None:
    """Write `labels` and the tensor `key`, whose `parts` follow one another along its first axis.

    One part is in memory at a time. The bytes are those that the library of safetensors writes.

    Args:
        like: shape and type of the whole tensor, float32 or float16; its values do not count, so
            that `np.broadcast_to(np.float32(0), shape)` will do.
        labels: int64.
        header: sha256 of each tensor -> metadata, whose length the sums do not change.
    """
    tensors = {"labels": np.ascontiguousarray(labels), key: like}
    sums = {"labels": sha256_bytes(tensors["labels"].data), key: "0" * 64}
    digest = hashlib.sha256()
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(_preamble(tensors, header(sums)))
        stream.write(tensors["labels"].data)
        for part in parts:
            data = np.ascontiguousarray(part).data
            stream.write(data)
            digest.update(data)
        stream.seek(0)
        stream.write(_preamble(tensors, header(sums | {key: digest.hexdigest()})))


def _preamble(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """Length and text at the beginning of a safetensors file, as its own library writes them.

    Written here because that library wants all data in memory.
    """
    table: dict[str, object] = {"__metadata__": metadata}
    begin = 0
    for key, tensor in tensors.items():
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
