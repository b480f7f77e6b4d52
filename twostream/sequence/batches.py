"""Padded batches of sequences, loaded by threads while the network works."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from twostream.sequence.frames import crop, evenly_spaced, read_clip, temporal_jitter
from twostream.sequence.records import SequenceRecord
from twostream.transforms.clips import Clip

BATCHES_AHEAD = 2
Batch = tuple[Tensor, Tensor, Sequence[int]]  # clips (N, T, C, H, W), lengths (N,), indices


def derive_seed(*numbers: int) -> int:
    """One seed from several numbers, such as (seed, epoch)."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def train_clip(
    record: SequenceRecord, *, stream: str, side: int, size: int, rng: np.random.Generator
) -> Clip:
    """A sequence with temporal jitter and a random crop: uint8 (T, C, size, size)."""
    clip = read_clip(record, side=side, stream=stream)
    positions = temporal_jitter(len(clip), rng=rng)
    top, left = rng.integers(0, side - size + 1, size=2).tolist()
    return crop(clip, positions, size=size, top=top, left=left)


def eval_clip(record: SequenceRecord, *, stream: str, side: int, size: int) -> Clip:
    """A sequence without augmentation, with a centre crop: uint8 (T, C, size, size)."""
    clip = read_clip(record, side=side, stream=stream)
    corner = (side - size) // 2
    return crop(clip, evenly_spaced(len(clip)), size=size, top=corner, left=corner)


def pad(clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """Zero-pad clips into uint8 (N, longest T, C, H, W), and their lengths (N,)."""
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

        def next_batch() -> Batch:
            clips, batch = ahead.popleft()
            return *pad([clip.result() for clip in clips]), batch

        try:
            for batch in batches:
                ahead.append(([pool.submit(load, index) for index in batch], batch))
                if len(ahead) > BATCHES_AHEAD:
                    yield next_batch()
            while ahead:
                yield next_batch()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
