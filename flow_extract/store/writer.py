"""Writing store files (`reader.py` describes them)."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from flow_extract.store.header import Header
from flow_extract.store.reader import STORE_FILE, StoreEntry
from twostream_base.errors import InputError
from twostream_base.tensor_file import Streamed, write_tensor_file

# What an ordinary clip needs stays in memory; an hour of video goes to disk.
MEMORY_LIMIT = 32 * 2**20
BLOCK = 2**20  # bytes that are copied at one time


class Blobs:
    """Encoded pictures in a row, to which one can only append; made by `collecting`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._offsets = [0]

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def append(self, blob: bytes) -> None:
        """Add one blob at the end."""
        self._stream.write(blob)
        self._digest.update(blob)
        self._offsets.append(self._offsets[-1] + len(blob))

    @property
    def offsets(self) -> np.ndarray:
        """Where each blob begins, and where the last one ends: uint64 (len + 1,)."""
        return np.array(self._offsets, np.uint64)

    def as_tensor(self) -> Streamed:
        """All blobs in a row, to be written once."""
        self._stream.seek(0)
        chunks = iter(lambda: self._stream.read(BLOCK), b"")
        return Streamed("uint8", (self._offsets[-1],), chunks, self._digest.hexdigest())


@contextmanager
def collecting(folder: Path) -> Iterator[tuple[Blobs, Blobs]]:
    """Yield two empty `Blobs`, for frames and flow.

    Past `MEMORY_LIMIT` each goes to a nameless file on the disk of `folder`, which vanishes with
    its process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.SpooledTemporaryFile(MEMORY_LIMIT, dir=str(folder)) as rgb,
        tempfile.SpooledTemporaryFile(MEMORY_LIMIT, dir=str(folder)) as flow,
    ):
        yield Blobs(rgb), Blobs(flow)


def write_entry(path: Path, header: Header, *, rgb: Blobs, flow: Blobs) -> None:
    """Write a store file; the format and the sha256 of the arrays are added to its header.

    Raises:
        ValueError: what is to be written has not the counts of the header; or the number of flow
            pairs is not the number of frames - 1, or 0 without method.
        OSError: the disk does not take it, or does not give it back.
    """
    counts = header["counts"]
    if (len(rgb), len(flow)) != (counts["frames"], counts["flows"]):
        raise ValueError(f"{len(rgb)} frames and {len(flow)} flow pairs, the header says {counts}")
    pairs = len(rgb) - 1 if header["method"] else 0
    if len(flow) != pairs:
        raise ValueError(f"{len(rgb)} frames need {pairs} flow pairs, not {len(flow)}")

    def check(temporary: Path) -> None:
        try:
            StoreEntry(temporary)
        except InputError as error:
            if isinstance(error.__cause__, OSError):  # the disk fails: no fault of the video
                raise error.__cause__ from None
            raise

    arrays: dict[str, np.ndarray | Streamed] = {
        "flow_offsets": flow.offsets,
        "rgb_offsets": rgb.offsets,
        "flow": flow.as_tensor(),
        "rgb": rgb.as_tensor(),
    }
    write_tensor_file(path, STORE_FILE, header, arrays, check=check)
