"""Encoded pictures on their way into a store file."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

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
