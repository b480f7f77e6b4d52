"""Which bound the motion of a folder of videos needs (`--bound auto`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from flow_extract.estimate import by_size, one_thread
from flow_extract.extract import count_clipped, make_method
from flow_extract.settings import clip_flow, settings_hash
from flow_extract.store import entry_paths, read_header
from flow_extract.video import VideoError, probe, read_frames
from twostream.errors import InputError

CANDIDATES = (10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0)
# A bound may clip this share of the flow vectors.
CLIPPED_SHARE = 0.001
# Videos that are looked at, pairs of each, and frames at its beginning from which these are taken.
VIDEOS = 10
PAIRS = 8
FRAMES = 300


@dataclass(frozen=True, slots=True)
class BoundChoice:
    """A bound and what led to it.

    Attributes:
        bound: pixels per frame.
        shares: candidate -> share of the flow vectors that it clips.
        pairs: frame pairs that were looked at.
    """

    bound: float
    shares: dict[float, float]
    pairs: int


def choose_bound(videos: Sequence[Path], settings: dict[str, Any]) -> BoundChoice:
    """The smallest candidate that clips at most `CLIPPED_SHARE` of the vectors of a few videos.

    The largest one if all clip more. Equal videos and settings give the same choice.

    Raises:
        InputError: none of the videos that were looked at has two frames.
    """
    method = make_method(settings)
    vectors, pairs = 0, 0
    clipped = dict.fromkeys(CANDIDATES, 0)
    with one_thread():
        for video in by_size(videos, VIDEOS):
            for pair in _some_pairs(video, short_side=settings["short_side"]):
                flow = clip_flow(method, pair)
                pairs, vectors = pairs + 1, vectors + flow[..., 0].size
                for bound in CANDIDATES:
                    clipped[bound] += count_clipped(flow, bound=bound)
    if not pairs:
        raise InputError("--bound auto: none of the videos that were tried has two frames")
    shares = {bound: count / vectors for bound, count in clipped.items()}
    wide_enough = (bound for bound, share in shares.items() if share <= CLIPPED_SHARE)
    return BoundChoice(next(wide_enough, CANDIDATES[-1]), shares, pairs)


def bound_of_store(store: Path, settings: dict[str, Any]) -> float | None:
    """The bound of a store that was made with these settings but for the bound, else None.

    A store that has been begun keeps its bound, although new videos may move more.
    """
    for path in entry_paths(store).values() if store.is_dir() else ():
        header = read_header(path)
        same = settings | {"quantiser": header["quantiser"]}
        bound: float = header["quantiser"]["bound"]
        return bound if settings_hash(same) == header["settings_hash"] else None
    return None


def _some_pairs(video: Path, *, short_side: int | None) -> list[np.ndarray]:
    """Pairs of neighbouring frames (2, H, W, 3), evenly spread; none of an unreadable video."""
    try:
        count = min(probe(video).promised_frames or FRAMES, FRAMES)
        wanted = set(np.linspace(0, max(0, count - 2), PAIRS).round().astype(int).tolist())
        frames = islice(read_frames(video, short_side=short_side), count)
        return [np.stack(pair) for n, pair in enumerate(pairwise(frames)) if n in wanted]
    except VideoError:
        return []
