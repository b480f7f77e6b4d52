"""Real frames to measure flow on; the data lie beside the clone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from flow_extract.synthetic import read_flo
from flow_extract.video.decode import read_frames

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MIDDLEBURY = ("Dimetrodon", "Grove2", "Grove3", "RubberWhale", "Urban2")


class TruePair(NamedTuple):
    """Two frames and the flow between them.

    Attributes:
        name: as Middlebury has it.
        frames: uint8 (2, H, W, 3) RGB.
        truth: float32 (H, W, 2), NaN where it is unknown.
    """

    name: str
    frames: np.ndarray
    truth: np.ndarray


def middlebury(size: tuple[int, int] | None = None) -> Iterator[TruePair]:
    """The pairs of Middlebury at their own size, or scaled to `size` (width, height)."""
    for name in MIDDLEBURY:
        folder = DATA / "flow-middlebury" / name
        frames = [cv2.imread(str(folder / f"frame{i}.png"))[..., ::-1] for i in (10, 11)]
        truth = read_flo(folder / "flow10.flo")
        if size is not None:
            scale = np.float32(size) / truth.shape[1::-1]
            frames = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
            truth = cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST) * scale
        yield TruePair(name, np.stack(frames), truth)


def clips(count: int) -> list[Path]:
    """So many of the UCF101 clips, spread over their classes."""
    videos = sorted((DATA / "ucf101-clips" / "videos").glob("*/*.avi"))
    return videos[:: len(videos) // count][:count]


def pairs_of(video: Path, count: int) -> list[np.ndarray]:
    """Pairs of neighbouring frames, uint8 (2, H, W, 3), spread over a video."""
    frames = list(islice(read_frames(video), 200))
    starts = [len(frames) * (k + 1) // (count + 1) for k in range(count)]
    return [np.stack(frames[start : start + 2]) for start in starts]


def grey(frames: np.ndarray) -> list[np.ndarray]:
    """Frames as the flow methods see them, uint8 (H, W)."""
    return [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
