"""Writing store files (`store.py` describes and reads them)."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from flow_extract.store.reader import DTYPES, FORMAT, StoreEntry, entry_path
from twostream_base.errors import InputError
from twostream_base.files import atomic_path, sha256_bytes


def write_entry(store: Path, header: dict[str, Any], *, rgb: Blobs, flow: Blobs) -> None:
    """Write the store file of `header["name"]`; counts of what it holds and sha256 are filled in.

    Raises:
        ValueError: the number of flow pairs is not the number of frames - 1, or 0 without method.
        OSError: the disk does not take it, or does not give it back.
    """
    pairs = len(rgb) - 1 if header["method"] else 0
    if len(flow) != pairs:
        raise ValueError(f"{len(rgb)} frames need {pairs} flow pairs, not {len(flow)}")
    offsets = {"flow_offsets": flow.offsets.tobytes(), "rgb_offsets": rgb.offsets.tobytes()}
    header = header | {
        "format": FORMAT,
        "counts": header["counts"] | {"frames": len(rgb), "flows": len(flow)},
        "sha256": {key: sha256_bytes(data) for key, data in offsets.items()}
        | {"flow": flow.sha256, "rgb": rgb.sha256},
    }
    sizes = {key: len(data) for key, data in offsets.items()} | {"flow": flow.size, "rgb": rgb.size}
    with atomic_path(entry_path(store, header["name"])) as temporary:
        with temporary.open("wb") as stream:
            stream.write(_preamble(header, sizes))
            stream.write(b"".join(offsets.values()))
            flow.copy_to(stream)
            rgb.copy_to(stream)
        _check(temporary)


def _check(temporary: Path) -> None:
    try:
        StoreEntry(temporary)
    except InputError as error:
        if isinstance(error.__cause__, OSError):  # the disk fails: no fault of the video
            raise error.__cause__ from None
        raise


def _preamble(header: dict[str, Any], sizes: dict[str, int]) -> bytes:
    """Length and text at the beginning of a safetensors file, as its own library writes them.

    Written here because that library wants all data in memory, and a long video has gigabytes.
    """
    table: dict[str, Any] = {"__metadata__": {"twostream": _json(header)}}
    begin = 0
    for key, dtype in DTYPES.items():
        length = sizes[key] // 8 if dtype == "U64" else sizes[key]
        offsets = [begin, begin + sizes[key]]
        table[key] = {"dtype": dtype, "shape": [length], "data_offsets": offsets}
        begin += sizes[key]
    text = _json(table, sort_keys=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _json(value: dict[str, Any], *, sort_keys: bool = True) -> str:
    return json.dumps(
        value, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


# Encoded pictures on their way into a store file.
# What an ordinary clip needs stays in memory; an hour of video goes to disk.
MEMORY_LIMIT = 32 * 2**20


class Blobs:
    """Byte strings in a row, to which one can only append; made by `collecting`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._offsets = [0]

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @property
    def offsets(self) -> np.ndarray:
        """Where each blob begins, and where the last one ends: uint64 (len + 1,)."""
        return np.array(self._offsets, np.uint64)

    @property
    def size(self) -> int:
        """Bytes of all blobs together."""
        return self._offsets[-1]

    @property
    def sha256(self) -> str:
        """SHA-256 of all blobs in a row."""
        return self._digest.hexdigest()

    def append(self, blob: bytes) -> None:
        """Add one blob at the end."""
        self._stream.write(blob)
        self._digest.update(blob)
        self._offsets.append(self._offsets[-1] + len(blob))

    def copy_to(self, stream: IO[bytes]) -> None:
        """Write all blobs in a row."""
        self._stream.seek(0)
        shutil.copyfileobj(self._stream, stream)


@contextmanager
def collecting(folder: Path) -> Iterator[Blobs]:
    """Yield empty `Blobs`; past `MEMORY_LIMIT` they go to a nameless file on the disk of `folder`.

    Nameless: it vanishes with its process, however that ends.
    """
    with tempfile.SpooledTemporaryFile(MEMORY_LIMIT, dir=str(folder)) as stream:
        yield Blobs(stream)
