"""Score files that stay on disk: their header is read, their scores a few videos at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from safetensors import safe_open

from fusion.score_file import ScoreTable, check_table, read_head
from fusion.tensor_stream import SAFETENSORS_TYPES
from twostream.errors import InputError

_BLOCK = 8 * 2**20


@dataclass(frozen=True)
class ScoreBlock:
    """Where the scores of a file lie: small, and can be sent to another process."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: str

    def read(self, rows: Sequence[int] | slice) -> np.ndarray:
        """The scores of some videos, (n, S, R, C), in memory of their own.

        The file is mapped for this one reading, so that its pages are not held.
        """
        mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return np.array(mapped[rows])

    def parts(self, videos: int) -> Iterator[np.ndarray]:
        """All scores in order, `videos` at a time; each part is overwritten by the next.

        One small buffer, which stays in the processor's cache, is faster than mapping the file.
        """
        buffer = np.empty((min(videos, self.shape[0]), *self.shape[1:]), self.dtype)
        with self.path.open("rb", buffering=0) as stream:
            stream.seek(self.offset)
            for begin in range(0, self.shape[0], videos):
                part = buffer[: self.shape[0] - begin]
                _fill(part, stream)
                yield part


def _fill(part: np.ndarray, stream: IO[bytes]) -> None:
    left = part.reshape(-1).view(np.uint8).data
    while len(left):
        count = stream.readinto(left)  # type: ignore[attr-defined]
        if not count:
            raise OSError(f"{stream.name} became shorter while it was read")
        left = left[count:]


@dataclass(frozen=True, eq=False)
class MappedScores:
    """A score file on disk.

    Attributes:
        head: all that it says but the scores: these are zeros that take no memory.
        block: where the scores are.
        sha256: of the scores, as the file says.
    """

    head: ScoreTable
    block: ScoreBlock
    sha256: str


def map_scores(path: Path) -> MappedScores:
    """Read the header of a score file, and verify the scores against its checksum.

    Whether the scores are finite is not checked here.

    Raises:
        InputError: not a score file, or damaged.
    """
    header = read_head(path)
    block = _block(path, header["shape"])
    with safe_open(path, framework="np") as file:
        labels = file.get_tensor("labels")
    head = ScoreTable(
        names=tuple(header["names"]),
        class_names=tuple(header["class_names"]),
        scores=np.broadcast_to(np.dtype(block.dtype).type(0), block.shape),
        labels=labels,
        kind=header["kind"],
        about=header["about"],
    )
    first = replace(head, names=head.names[:1], labels=labels[:1], scores=head.scores[:1])
    check_table(first, where=str(path))
    _check_sum(block, header["sha256"]["scores"])
    return MappedScores(head, block, header["sha256"]["scores"])


def _block(path: Path, shape: tuple[int, ...]) -> ScoreBlock:
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        entry = json.loads(stream.read(length))["scores"]
    types = {code: name for name, code in SAFETENSORS_TYPES.items()}
    if entry["dtype"] not in ("F32", "F16"):
        raise InputError(f"{path}: scores are {entry['dtype']}; they must be float32 or float16")
    return ScoreBlock(path, 8 + length + entry["data_offsets"][0], shape, types[entry["dtype"]])


def _check_sum(block: ScoreBlock, expected: str) -> None:
    digest, left = hashlib.sha256(), int(np.prod(block.shape)) * np.dtype(block.dtype).itemsize
    buffer = memoryview(bytearray(_BLOCK))
    with block.path.open("rb", buffering=0) as stream:
        stream.seek(block.offset)
        while left and (count := stream.readinto(buffer[: min(left, _BLOCK)])):
            digest.update(buffer[:count])
            left -= count
    if digest.hexdigest() != expected:
        raise InputError(
            f"{block.path}: `scores` does not fit its checksum; the file is damaged, make or copy "
            "it again"
        )
