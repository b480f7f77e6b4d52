"""Batches that are made by threads while the network works.

Threads, not worker processes: decoding and scaling release the interpreter lock, and nothing is
copied between processes. The order is the caller's, whatever the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from twostream.transforms.clips import Clip

BATCHES_AHEAD = 2


def split_into_batches(order: Sequence[int], *, batch_size: int, least: int = 2) -> list[list[int]]:
    """Cut `order` into batches; a last batch of fewer than `least` joins the one before it.

    Batch normalisation cannot learn from a single value a channel.

        order 0..6, batch_size 3: [0 1 2] [3 4 5 6]
    """
    batches = [list(order[i : i + batch_size]) for i in range(0, len(order), batch_size)]
    if len(batches) > 1 and len(batches[-1]) < least:
        batches[-2:] = [batches[-2] + batches[-1]]
    return batches


def load_batches(
    load: Callable[[int], Clip], batches: Sequence[Sequence[int]], *, threads: int
) -> Iterator[tuple[Tensor, Sequence[int]]]:
    """Yield each batch as a uint8 tensor (N, ...) with the indices in it.

    Args:
        load: index -> one sample; called in `threads` threads, up to two batches ahead.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="loader") as pool:
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


def _collect(samples: list[Future[Clip]], batch: Sequence[int]) -> tuple[Tensor, Sequence[int]]:
    return torch.from_numpy(np.stack([sample.result() for sample in samples])), batch
