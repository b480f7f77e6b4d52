"""Padded batches of sequences: frames are read, augmented, cropped and loaded by threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

import numpy as np
import torch
from torch import Tensor

from flow_extract.methods.opencv import make_dis
from flow_extract.store.codecs import quantize
from flow_extract.video.decode import open_video
from flow_extract.video.frames import VideoError, resize
from twostream.compute.device import Runtime
from twostream.data.loader import load_ahead
from twostream.sequence.checkpoint import SequenceNetworkSpec
from twostream.sequence.lists import SequenceRecord
from twostream.sequence.options import SequenceOptions
from twostream.transforms.clips import OPPOSITE, Clip
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError

Batch = tuple[Tensor, Tensor, Sequence[int]]  # clips (N, T, C, H, W), lengths (N,), indices


def train_batches(
    records: Sequence[SequenceRecord], options: SequenceOptions, *, epoch: int
) -> tuple[Iterator[Batch], int]:
    """The batches of an epoch and their number: shuffled, jittered in time, cropped, mirrored.

    All random numbers derive from (seed, epoch, index of the record).
    """
    side, size = options.frame_size, options.input_size

    def load(index: int) -> Clip:
        rng = np.random.default_rng((options.seed, epoch, index))
        clip = read_clip(records[index], side=side, stream=options.stream)
        positions = temporal_jitter(len(clip), rng=rng)
        top, left = rng.integers(0, side - size + 1, size=2).tolist()
        clip = crop(clip, positions, size=size, top=top, left=left)
        return mirrored(clip, stream=options.stream) if rng.random() < options.flip else clip

    order = np.random.default_rng((options.seed, epoch)).permutation(len(records)).tolist()
    return padded_batches(load, order, batch_size=options.batch_size, threads=options.threads)


def eval_batches(
    records: Sequence[SequenceRecord], spec: SequenceOptions | SequenceNetworkSpec, runtime: Runtime
) -> tuple[Iterator[Batch], int]:
    """All videos in order, in batches, and the number of batches: centre crops of all frames."""
    side, size = spec.frame_size, spec.input_size
    corner = (side - size) // 2

    def load(index: int) -> Clip:
        clip = read_clip(records[index], side=side, stream=spec.stream)
        return crop(clip, evenly_spaced(len(clip)), size=size, top=corner, left=corner)

    return padded_batches(
        load, range(len(records)), batch_size=runtime.views_per_forward, threads=runtime.threads
    )


def padded_batches(
    load: Callable[[int], Clip], order: Sequence[int], *, batch_size: int, threads: int
) -> tuple[Iterator[Batch], int]:
    """Zero-padded batches of the clips that `load` gives, and their number.

    Each batch is uint8 (N, longest T, C, H, W), the lengths (N,), and the indices in `order`.
    """
    starts = range(0, len(order), batch_size)
    batches = [order[start : start + batch_size] for start in starts]

    def padded() -> Iterator[Batch]:
        loaded = load_ahead(load, batches, threads=threads)
        for indices, clips in zip(batches, loaded, strict=True):
            lengths = [len(clip) for clip in clips]
            batch = np.zeros((len(clips), max(lengths), *clips[0].shape[1:]), np.uint8)
            for row, clip in zip(batch, clips, strict=True):
                row[: len(clip)] = clip
            yield torch.from_numpy(batch), torch.tensor(lengths), indices

    return padded(), len(batches)


def read_clip(record: SequenceRecord, *, side: int, stream: str) -> Clip:
    """Read all frames, scaled to `side` x `side`: uint8 (T, side, side, C).

    Pictures in a folder are in the order of their numbers. C is 3 for the `spatial` stream; 2 for
    the `motion` stream, flow from each frame to the next as stored values (zero at 128, the bound
    at 255), whose last frame repeats the flow before it; 5, RGB and flow, for the `joint` stream.
    A store has the flow, of whatever method and size; else it is DIS flow of the scaled frames,
    bounded to 20 pixels.

    Raises:
        InputError: a picture or the video cannot be read, or a part is missing; it is named.
    """
    parts = []
    if record.stored:
        with closing(record.stored.open()) as entry:
            if stream != "motion":
                parts.append(scaled(entry.read_rgb(range(entry.num_frames)), side))
            if stream != "spatial":
                parts.append(scaled(entry.read_flow(0, entry.num_flows), side))
    else:
        try:
            with open_video(record.frames) as video:
                frames = scaled(video, side)
        except VideoError as error:
            raise InputError(f"{record.frames}: {error}") from error
        if video.damage and not record.use_damaged:
            raise InputError(
                f"{record.frames}: {video.damage}; mend it, leave {record.name} out, or take it as "
                "it is with --use-damaged"
            )
        if stream != "motion":
            parts.append(frames)
        if stream != "spatial":
            if len(frames) < 2:
                raise InputError(f"{record.frames}: one frame has no flow; leave {record.name} out")
            parts.append(quantize(make_dis()(frames)))
    if stream != "spatial":
        parts[-1] = np.concatenate([parts[-1], parts[-1][-1:]])
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=3)


def scaled(pictures: Iterable[np.ndarray], side: int) -> np.ndarray:
    """Pictures (H, W, C), scaled to `side` x `side` and stacked; flow keeps its values."""
    return np.stack([resize(picture, (side, side)) for picture in pictures])


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


def mirrored(clip: Clip, *, stream: str) -> Clip:
    """All frames (T, C, H, W) mirrored left to right; in flow, what moved right then moves left."""
    clip = clip[..., ::-1].copy()
    u = MODALITIES[stream].u_channels
    clip[:, u] = OPPOSITE[clip[:, u]]
    return clip
