"""Writing store files (`reader.py` describes them)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile

import numpy as np

from flow_extract.store.header import Header, Source
from flow_extract.store.reader import (
    ARRAYS,
    PROBLEM_SUFFIX,
    STORE_FILE,
    StoreEntry,
    entry_path,
    read_header,
)
from twostream_base.errors import InputError
from twostream_base.tensor_file import Streamed, write_tensor_file

# What an ordinary clip needs stays in memory; an hour of video goes to disk.
MEMORY_LIMIT = 32 * 2**20
BLOCK = 2**20  # bytes that are copied at one time


class Blobs:
    """Encoded pictures in a row, to which one can only append."""

    def __init__(self, folder: Path) -> None:
        self._stream = SpooledTemporaryFile(MEMORY_LIMIT, dir=str(folder))  # noqa: SIM115
        self._offsets = array("Q", [0])

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def close(self) -> None:
        """Delete the temporary file of the pictures."""
        self._stream.close()

    def append(self, blob: bytes) -> None:
        """Add one blob at the end."""
        self._stream.write(blob)
        self._offsets.append(self._offsets[-1] + len(blob))

    def extend(self, blobs: Iterable[bytes]) -> None:
        """Add several blobs at the end."""
        for blob in blobs:
            self.append(blob)

    @property
    def offsets(self) -> np.ndarray:
        """Where each blob begins, and where the last one ends: uint64 (len + 1,)."""
        return np.array(self._offsets, np.uint64)

    def as_tensor(self) -> Streamed:
        """All blobs in a row, to be written once."""
        self._stream.seek(0)
        chunks = iter(partial(self._stream.read, BLOCK), b"")
        return Streamed("uint8", (self._offsets[-1],), chunks)


class EntryWriter:
    """Collects the pictures of a video in a `with` block, and writes its store file by `finish`.

    Past `MEMORY_LIMIT` they go to nameless files on the disk of the store, which vanish with their
    process, however that ends.

    Attributes:
        path: of the store file.
        rgb: encoded frames.
        flow: encoded flow pairs.
    """

    def __init__(self, store: Path, name: str) -> None:
        self.path = entry_path(store, name)
        self._problem = entry_path(store, name, PROBLEM_SUFFIX)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.rgb, self.flow = Blobs(self.path.parent), Blobs(self.path.parent)

    def __enter__(self) -> EntryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.rgb.close()
        self.flow.close()

    def copy_rgb(self, entry: StoreEntry) -> None:
        """Take the encoded frames of another store file."""
        for number in range(entry.num_frames):
            self.rgb.append(entry.blobs("rgb", number, 1)[0].tobytes())

    def finish(self, header: Header) -> None:
        """Write the store file, and remove a problem file of the video.

        Raises:
            ValueError: what was collected has not the counts of the header; or the number of flow
                pairs is not the number of frames - 1, or 0 without method.
            OSError: the disk does not take it, or does not give it back.
        """
        frames, pairs, counts = len(self.rgb), len(self.flow), header["counts"]
        if (frames, pairs) != (counts["frames"], counts["flows"]):
            raise ValueError(f"{frames} frames and {pairs} flow pairs; the header says {counts}")
        if pairs != (frames - 1 if header["method"] else 0):
            raise ValueError(f"{pairs} flow pairs do not fit {frames} frames; expected one fewer")
        arrays: dict[str, np.ndarray | Streamed] = {
            "flow_offsets": self.flow.offsets,
            "rgb_offsets": self.rgb.offsets,
            "flow": self.flow.as_tensor(),
            "rgb": self.rgb.as_tensor(),
        }
        write_tensor_file(self.path, STORE_FILE, header, arrays, check=_check)
        self._problem.unlink(missing_ok=True)


def copy_entry(entry: StoreEntry, store: Path, name: str, *, source: Source) -> None:
    """Give a copy of a store file to the same video under another name; the old one stays.

    The new file has the bytes of an extraction under the new name. Whether the old one is still
    wanted only the user knows: another root, or another list, may have the video under it.

    Args:
        source: of the video as it is now.

    Raises:
        InputError: the file is damaged.
        OSError: the disk does not take the new one.
    """
    sums = entry.header["sha256"]

    def is_unchanged(path: Path) -> None:
        _check(path)
        if changed := [
            key for key, digest in read_header(path)["sha256"].items() if digest != sums[key]
        ]:
            raise InputError(f"{entry.path}: damaged: {', '.join(changed)}")

    path = entry_path(store, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {**entry.header, "name": name, "source": source}
    arrays = {key: entry.stream(key) for key in ARRAYS}
    write_tensor_file(path, STORE_FILE, header, arrays, check=is_unchanged)


def _check(path: Path) -> None:
    """Read back what was written, under a temporary name."""
    try:
        StoreEntry(path)
    except InputError as error:
        if isinstance(error.__cause__, OSError):  # the disk fails: no fault of the video
            raise error.__cause__ from None
        raise
