"""The frames of a sequence as a network sees them: read, jittered in time, cropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flow_extract.methods.dis import make_dis
from flow_extract.quantize import quantize
from flow_extract.video import VideoError, read_frames, resize
from twostream.errors import InputError
from twostream.sequence.lists import list_frames
from twostream.sequence.records import SequenceRecord
from twostream.transforms.clips import Clip


def read_clip(record: SequenceRecord, *, side: int, stream: str) -> Clip:
    """Read all frames, scaled to `side` x `side`: uint8 (T, side, side, 3), or flow (..., 2).

    For the `motion` stream it is DIS flow from each frame to the next, at that size, as stored
    values (zero at 128, 20 pixels at 255); the last frame repeats the flow before it.

    Raises:
        InputError: a picture or the video cannot be read; the file is named.
    """
    frames = np.stack([resize(frame, (side, side)) for frame in _read(record)])
    if stream == "spatial":
        return frames
    if len(frames) < 2:
        raise InputError(f"{record.frames}: one frame has no flow; take {record.name} out")
    flow = quantize(make_dis()(frames))
    return np.concatenate([flow, flow[-1:]])


def jitter(
    frames: int,
    *,
    rng: np.random.Generator,
    repeat: float = 0.2,
    drop: float = 0.2,
    most: int = 300,
) -> list[int]:
    """Positions of a sequence played unevenly: some frames twice, then some left out.

    A fraction `repeat` of the frames is doubled, a fraction `drop` of the result is left out, and
    at most `most` are kept, all at random and in order; of a few frames at least one is kept.
    """
    doubled = rng.choice(frames, size=int(repeat * frames), replace=False)
    places = np.sort(np.concatenate([np.arange(frames), doubled]))
    keep = min(max(len(places) - int(drop * len(places)), 1), most)
    return sorted(rng.choice(places, size=keep, replace=False).tolist())


def even(frames: int, *, most: int = 300) -> list[int]:
    """All positions, or `most` of them, evenly spaced, where there are more."""
    if frames <= most:
        return list(range(frames))
    return [position * (frames - 1) // (most - 1) for position in range(most)]


def crop(clip: Clip, positions: Sequence[int], *, size: int, top: int, left: int) -> Clip:
    """The same `size` x `size` part of the chosen frames: uint8 (len(positions), C, size, size)."""
    part = clip[list(positions), top : top + size, left : left + size]
    return np.ascontiguousarray(part.transpose(0, 3, 1, 2))


def _read(record: SequenceRecord) -> list[Clip]:
    if record.frames.is_dir():
        return [_read_picture(path) for path in list_frames(record)]
    try:
        return list(read_frames(record.frames))
    except VideoError as error:
        raise InputError(f"{record.frames}: {error}") from error


def _read_picture(path: Path) -> Clip:
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{path}: not a picture that can be read; copy it again")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
