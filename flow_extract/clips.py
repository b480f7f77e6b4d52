"""Frames in handy pieces, and work on several pieces at one time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# New frames that a flow method sees at one time, and pixels of them.
MAX_CHUNK = 16
CHUNK_PIXELS = 4_000_000


def overlapping_chunks(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Gather frames into clips (T, H, W, 3), each beginning with the last frame of the one before.

    A clip has up to `MAX_CHUNK` new frames, fewer of a large picture: memory stays bounded however
    long or large the video is. A single frame comes as a clip of one.
    """
    chunk: list[np.ndarray] = []
    fresh = 0
    for frame in frames:
        chunk.append(frame)
        fresh += 1
        if fresh >= np.clip(CHUNK_PIXELS // (frame.shape[0] * frame.shape[1]), 1, MAX_CHUNK):
            yield np.stack(chunk)
            chunk, fresh = [frame], 0
    if fresh:
        yield np.stack(chunk)


def map_in_order(
    function: Callable[[Item], Answer], items: Iterable[Item], *, threads: int
) -> Iterator[Answer]:
    """Yield `function(item)` for each item, in their order, computed in up to `threads` threads.

    Items are taken one by one, as there is room; while one is made (a frame decoded), one thread
    less computes, so that never more than `threads` are busy.
    """
    if threads == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Answer]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
