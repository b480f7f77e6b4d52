"""Loading batches ahead, by threads or by processes, while the network computes.

Samples are written straight into their batch. The order is the caller's, whatever the number of
workers. Where a CPU computes, threads load: decoding and scaling release the interpreter lock. A
GPU asks for more than that lock lets through: a sample takes and returns it some 75 times, and each
handover between busy cores costs about 25 microseconds, so that 16 threads were no faster than 4.
There, forked processes load, into memory that they share.
"""

from __future__ import annotations

import gc
import mmap
import os
import select
import signal
import struct
import sys
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from math import prod
from time import perf_counter, thread_time
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from twostream.transforms.clips import Clip
from twostream_base.errors import InputError

BATCHES_AHEAD = 2
CPU = torch.device("cpu")
# Elsewhere a forked process may not use the libraries that its parent has used.
CAN_FORK = sys.platform == "linux"
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
# Through the pipes: number of a batch, first sample, number of samples (negative: failed), seconds
# of computing and of all that they took.
RECORD = struct.Struct("=qqqdd")

Item = TypeVar("Item")
Sample = TypeVar("Sample")


@dataclass(slots=True)
class LoadingTime:
    """What samples took, all workers together.

    Attributes:
        computing: CPU seconds.
        total: seconds from begin to end of each; the rest is waiting: for the disk, or for a core.
    """

    computing: float = 0.0
    total: float = 0.0

    def add(self, computing: float, total: float) -> None:
        """Count some samples."""
        self.computing += computing
        self.total += total

    @property
    def share_computing(self) -> float:
        """The share of its time that a worker computes; 1 where there were no samples."""
        return self.computing / self.total if self.total else 1.0


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
    write: Callable[[Item, Clip], None],
    batches: Sequence[Sequence[Item]],
    *,
    shape: Sequence[int],
    threads: int,
    device: torch.device = CPU,
    fork: bool | None = None,
    time: LoadingTime | None = None,
) -> Iterator[tuple[Tensor, Sequence[Item]]]:
    """Yield each batch as a uint8 tensor (N, *shape) with the items in it.

    On a GPU it is a tensor of its own there; its copy runs beside the work that the GPU has to do
    already. Elsewhere it is valid until the next one is asked for: its memory is then written
    again. Who keeps one copies it.

    Args:
        write: writes one item's sample, uint8 of `shape`, to where it is told; called up to two
            batches ahead, in `threads` threads or processes.
        device: where the batches go.
        fork: load in forked processes; None does so for a GPU where processes can be forked.
        time: is told what the samples take.

    Raises:
        InputError: a process that loads was killed.
    """
    on_gpu = device.type == "cuda"
    fork = on_gpu and CAN_FORK if fork is None else fork
    time = LoadingTime() if time is None else time
    # Memory for the batch in use and those ahead of it, written again and again.
    largest = (max(map(len, batches), default=0), *shape)
    buffers = [
        torch.from_numpy(
            np.frombuffer(mmap.mmap(-1, max(1, prod(largest))), np.uint8)[: prod(largest)]
            if fork
            else np.empty(prod(largest), np.uint8)  # in huge pages
        ).view(largest)
        for _ in range(min(BATCHES_AHEAD + 1, len(batches)))
    ]

    def buffer_of(number: int) -> Tensor:
        return buffers[number % len(buffers)][: len(batches[number])]

    if fork:
        places = [buffer.numpy() for buffer in buffers]

        def write_samples(number: int, begin: int, count: int) -> None:
            place = places[number % len(places)]
            for index in range(begin, begin + count):
                write(batches[number][index], place[index])

        loaded = load_in_processes(
            write_samples, [len(b) for b in batches], processes=threads, time=time
        )
    else:
        pairs = (
            list(zip(batch, buffer_of(number).numpy(), strict=True))
            for number, batch in enumerate(batches)
        )

        def write_sample(place: tuple[Item, Clip]) -> tuple[float, float]:
            stopwatch = start_stopwatch()
            write(*place)
            return stopwatch()

        loaded = _counted(load_ahead(write_sample, pairs, threads=threads), time)
    with closing(loaded):
        if not on_gpu:
            for number, _ in enumerate(loaded):
                yield buffer_of(number), batches[number]
            return
        copies = torch.cuda.Stream(device)
        try:
            for number, _ in enumerate(loaded):
                if number == 0:  # only now, so that the forked processes know nothing of it
                    for buffer in buffers:
                        pin(buffer, device)
                with torch.cuda.stream(copies):
                    clips = buffer_of(number).to(device, non_blocking=True)
                current = torch.cuda.current_stream(device)
                current.wait_stream(copies)
                clips.record_stream(current)
                yield clips, batches[number]
                copies.synchronize()  # before the buffer is written again
        finally:
            copies.synchronize()
            for buffer in buffers:
                if buffer.is_pinned():
                    torch.cuda.cudart().cudaHostUnregister(buffer.data_ptr())


def start_stopwatch() -> Callable[[], tuple[float, float]]:
    """Return what tells the seconds since now: CPU time of this thread, and all."""
    computing, total = thread_time(), perf_counter()
    return lambda: (thread_time() - computing, perf_counter() - total)


def _counted(
    batches: Generator[list[tuple[float, float]], None, None], time: LoadingTime
) -> Generator[None, None, None]:
    with closing(batches):
        for batch in batches:
            for seconds in batch:
                time.add(*seconds)
            yield


def pin(buffer: Tensor, device: torch.device) -> None:
    """Keep a buffer in RAM, so that the GPU copies from it by itself.

    If that fails, as under a limit of locked memory, copies are right all the same, only slower.
    """
    portable = 1
    error = torch.cuda.cudart().cudaHostRegister(buffer.data_ptr(), buffer.nbytes, portable)
    if int(error):
        with suppress(RuntimeError):
            torch.zeros(1, device=device)  # takes the error, which would be the next kernel's


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


def load_in_processes(
    write: Callable[[int, int, int], None],
    sizes: Sequence[int],
    *,
    processes: int,
    time: LoadingTime,
) -> Generator[None, None, None]:
    """Yield once for each batch of `sizes` samples, in their order, when all its samples are there.

    Works ahead as `load_ahead` does. A batch is cut into one run of neighbouring samples for each
    process, so that neighbours share what they read. A sample that fails is tried again here: the
    caller gets its error as it is.

    Args:
        write: (number of the batch, first sample, number of samples): writes them to where all
            processes can see them.
        time: is told what the samples take.

    Raises:
        InputError: one of the processes was killed.
    """
    import twostream.transforms.area  # noqa: F401  # compiled here, for all processes

    tasks, to_processes = os.pipe()
    answers, to_parent = os.pipe()
    children: list[int] = []
    remaining = [0] * len(sizes)  # runs of each batch that are not done yet
    failed: list[tuple[int, int, int]] = []

    def begin(number: int) -> None:
        length = -(-sizes[number] // processes)
        for first in range(0, sizes[number], length):
            count = min(length, sizes[number] - first)
            remaining[number] += 1
            os.write(to_processes, RECORD.pack(number, first, count, 0.0, 0.0))

    try:
        with warnings.catch_warnings():
            # Python warns of a fork beside threads. The child uses none of what they might hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            for _ in range(processes if sizes else 0):
                # An interrupt right after the fork would end the parent's work in the child too.
                before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
                try:
                    pid = os.fork()
                    if pid == 0:
                        os.close(to_processes)
                        os.close(answers)
                        _load_for_parent(write, tasks, to_parent)
                    children.append(pid)
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(to_parent)
        to_parent = -1
        poll = select.poll()
        poll.register(answers, select.POLLIN)
        for number in range(min(BATCHES_AHEAD + 1, len(sizes))):
            begin(number)
        for number in range(len(sizes)):
            while remaining[number]:
                if not poll.poll(1000):
                    _check_alive(children)
                    continue
                data = os.read(answers, 4096 // RECORD.size * RECORD.size)
                if not data:
                    _check_alive(children)
                for done, first, count, *seconds in RECORD.iter_unpack(data):
                    remaining[done] -= 1
                    time.add(*seconds)
                    if count < 0:
                        failed.append((done, first, -count))
            for run in [run for run in failed if run[0] == number]:
                write(*run)
            yield
            if number + BATCHES_AHEAD + 1 < len(sizes):
                begin(number + BATCHES_AHEAD + 1)
    finally:
        for pid in children:  # they only read, and what they write is not wanted any more
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for handle in (tasks, to_processes, answers, to_parent):
            if handle >= 0:
                os.close(handle)


def _load_for_parent(write: Callable[[int, int, int], None], tasks: int, answers: int) -> None:
    """The life of a forked process; it ends with its parent, and never returns."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
        gc.freeze()  # what the parent has is never looked through, nor its memory copied by that
        cv2.setNumThreads(0)  # OpenCV's threads stayed with the parent
        while record := os.read(tasks, RECORD.size):
            number, first, count, *_ = RECORD.unpack(record)
            stopwatch = start_stopwatch()
            try:
                write(number, first, count)
            except Exception:
                count = -count
            os.write(answers, RECORD.pack(number, first, count, *stopwatch()))
    finally:
        os._exit(0)


def _check_alive(children: list[int]) -> None:
    for pid in children:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.remove(pid)
            raise InputError(
                f"a process that loads samples has ended ({os.waitstatus_to_exitcode(status)}; -9 "
                "is what the system does when memory is short); give fewer --threads"
            )
