"""Batches that are made by threads while the network works.

Threads, not worker processes: decoding and scaling release the interpreter lock, and samples are
written straight into their batch. The order is the caller's, whatever the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from twostream.transforms.clips import Clip

BATCHES_AHEAD = 2
CPU = torch.device("cpu")

Item = TypeVar("Item")
Sample = TypeVar("Sample")


def split_into_batches(order: Sequence[int], *, batch_size: int, least: int = 2) -> list[list[int]]:
    """Cut `order` into batches; a last batch of fewer than `least` joins the one before it.

    Batch normalisation cannot learn from a single value a channel.

        order 0..6, batch_size 3: [0 1 2] [3 4 5 6]
    """
    batches = [list(order[i : i + batch_size]) for i in range(0, len(order), batch_size)]
    if len(batches) > 1 and len(batches[-1]) < least:
        batches[-2:] = [batches[-2] + batches[-1]]
    return batches


def load_ahead(
    load: Callable[[Item], Sample], batches: Iterable[Sequence[Item]], *, threads: int
) -> Generator[list[Sample], None, None]:
    """Yield the samples of each batch, while `threads` threads load those of the next two.

    The third batch from here is begun when the next one is asked for.
    """
    remaining = iter(batches)
    with ThreadPoolExecutor(threads, thread_name_prefix="loader") as pool:

        def begin(count: int) -> None:
            for batch in islice(remaining, count):
                ahead.append([pool.submit(load, item) for item in batch])

        ahead: deque[list[Future[Sample]]] = deque()
        begin(BATCHES_AHEAD + 1)
        try:
            while ahead:
                samples = ahead.popleft()
                wait(samples, return_when=FIRST_EXCEPTION)  # wakes up once, not for every sample
                yield [sample.result() for sample in samples]
                begin(1)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def load_batches(
    write: Callable[[Item, Clip], None],
    batches: Sequence[Sequence[Item]],
    *,
    shape: Sequence[int],
    threads: int,
    device: torch.device = CPU,
) -> Iterator[tuple[Tensor, Sequence[Item]]]:
    """Yield each batch as a uint8 tensor (N, *shape) with the items in it.

    A batch is valid until the next one is asked for: its memory is then written again. Who keeps
    one copies it. Copies to `device` may still be under way then; they are waited for.

    Args:
        write: writes one item's sample, uint8 of `shape`, to where it is told; called in `threads`
            threads, up to two batches ahead.
        device: where the batches will go; for a GPU they lie in pinned memory.
    """
    # Memory for the batch in use and those ahead of it, written again and again.
    largest = (max(map(len, batches), default=0), *shape)
    buffers = [
        torch.empty(largest, dtype=torch.uint8, pin_memory=True)
        if device.type == "cuda"
        else torch.from_numpy(np.empty(largest, np.uint8))  # in huge pages
        for _ in range(min(BATCHES_AHEAD + 1, len(batches)))
    ]

    def buffer_of(number: int) -> Tensor:
        return buffers[number % len(buffers)][: len(batches[number])]

    places = (
        list(zip(batch, buffer_of(number).numpy(), strict=True))
        for number, batch in enumerate(batches)
    )
    with closing(load_ahead(lambda place: write(*place), places, threads=threads)) as loaded:
        for number, _ in enumerate(loaded):
            yield buffer_of(number), batches[number]
            if device.type == "cuda":
                torch.cuda.current_stream(device).synchronize()
