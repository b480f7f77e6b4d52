"""Padded batches of sequences, loaded by threads while the network works."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from flow_extract.methods.dis import make_dis
from flow_extract.store.quantize import quantize
from flow_extract.video.decode import VideoError, read_frames, resize
from twostream.sequence.lists import list_frames
from twostream.sequence.records import SequenceRecord
from twostream.transforms.clips import Clip
from twostream_base.errors import InputError

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


# The frames of a sequence: read, augmented by temporal jitter, cropped.
def read_clip(record: SequenceRecord, *, side: int, stream: str) -> Clip:
    """Read all frames, scaled to `side` x `side`: uint8 (T, side, side, 3), or flow (..., 2).

    For the `motion` stream it is DIS flow from each frame to the next, at that size, as stored
    values (zero at 128, 20 pixels at 255); the last frame repeats the flow before it.

    Raises:
        InputError: a picture or the video cannot be read; the file is named.
    """
    pictures = _read_pictures(record) if record.frames.is_dir() else _read_video(record)
    frames = np.stack([resize(picture, (side, side)) for picture in pictures])
    if stream == "spatial":
        return frames
    if len(frames) < 2:
        raise InputError(f"{record.frames}: one frame has no flow; leave {record.name} out")
    flow = quantize(make_dis()(frames))
    return np.concatenate([flow, flow[-1:]])


def _read_pictures(record: SequenceRecord) -> list[Clip]:
    import cv2

    pictures = []
    for path in list_frames(record):
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise InputError(f"{path}: not a picture that can be read; copy it again")
        pictures.append(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8))
    return pictures


def _read_video(record: SequenceRecord) -> list[Clip]:
    try:
        return list(read_frames(record.frames))
    except VideoError as error:
        raise InputError(f"{record.frames}: {error}") from error


def temporal_jitter(
    frames: int,
    *,
    rng: np.random.Generator,
    repeat: float = 0.2,
    drop: float = 0.2,
    max_frames: int = 300,
) -> list[int]:
    """Positions of a sequence played unevenly: some frames twice, then some left out.

    A fraction `repeat` of the frames is doubled, a fraction `drop` of the result is dropped, and
    at most `max_frames` remain, all at random and in order; at least one frame remains.
    """
    doubled = rng.choice(frames, size=int(repeat * frames), replace=False)
    positions = np.sort(np.concatenate([np.arange(frames), doubled]))
    size = min(max(len(positions) - int(drop * len(positions)), 1), max_frames)
    return sorted(rng.choice(positions, size=size, replace=False).tolist())


def evenly_spaced(frames: int, *, max_frames: int = 300) -> list[int]:
    """All positions, or `max_frames` evenly spaced ones where there are more."""
    if frames <= max_frames:
        return list(range(frames))
    return [position * (frames - 1) // (max_frames - 1) for position in range(max_frames)]


def crop(clip: Clip, positions: Sequence[int], *, size: int, top: int, left: int) -> Clip:
    """The same `size` x `size` crop of frames: uint8 (len(positions), C, size, size)."""
    part = clip[list(positions), top : top + size, left : left + size]
    return np.ascontiguousarray(part.transpose(0, 3, 1, 2))
