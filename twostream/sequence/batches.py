"""Batches of sequences of unlike length, made by threads while the network works."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from twostream.sequence.frames import crop, even, jitter, read_clip
from twostream.sequence.records import SequenceRecord
from twostream.transforms.clips import Clip

BATCHES_AHEAD = 2
Batch = tuple[Tensor, Tensor, Sequence[int]]  # clips (N, T, C, H, W), lengths (N,), indices


def derive_seed(*numbers: int) -> int:
    """One seed of several, such as (seed, epoch); unlike ones give unlike seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def training_clip(
    record: SequenceRecord, *, stream: str, side: int, size: int, rng: np.random.Generator
) -> Clip:
    """A sequence with temporal jitter and a random crop: uint8 (T, C, size, size)."""
    clip = read_clip(record, side=side, stream=stream)
    positions = jitter(len(clip), rng=rng)
    top, left = rng.integers(0, side - size + 1, size=2).tolist()
    return crop(clip, positions, size=size, top=top, left=left)


def testing_clip(record: SequenceRecord, *, stream: str, side: int, size: int) -> Clip:
    """A sequence as it is, with the crop from the centre: uint8 (T, C, size, size)."""
    clip = read_clip(record, side=side, stream=stream)
    corner = (side - size) // 2
    return crop(clip, even(len(clip)), size=size, top=corner, left=corner)


def pad(clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """Put clips into one tensor: uint8 (N, longest T, C, H, W), zero behind, and lengths (N,)."""
    lengths = [len(clip) for clip in clips]
    padded = np.zeros((len(clips), max(lengths), *clips[0].shape[1:]), np.uint8)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    return torch.from_numpy(padded), torch.tensor(lengths)


def load_sequences(
    load: Callable[[int], Clip], batches: Sequence[Sequence[int]], *, threads: int
) -> Iterator[Batch]:
    """Yield each batch, padded; `load` is called in threads, up to two batches ahead."""
    with ThreadPoolExecutor(threads, thread_name_prefix="sequences") as pool:
        ahead: deque[tuple[list[Future[Clip]], Sequence[int]]] = deque()
        try:
            for batch in batches:
                ahead.append(([pool.submit(load, index) for index in batch], batch))
                if len(ahead) > BATCHES_AHEAD:
                    yield _collect(*ahead.popleft())
            while ahead:
                yield _collect(*ahead.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _collect(clips: list[Future[Clip]], batch: Sequence[int]) -> Batch:
    return *pad([clip.result() for clip in clips]), batch
