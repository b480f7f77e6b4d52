from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from twostream.data.loader import (
    BATCHES_AHEAD,
    CAN_FORK,
    LoadingTime,
    load_batches,
    split_into_batches,
)
from twostream_base.errors import InputError


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (6, 3, [[0, 1, 2], [3, 4, 5]]),
        (7, 3, [[0, 1, 2], [3, 4, 5, 6]]),
        (8, 3, [[0, 1, 2], [3, 4, 5], [6, 7]]),
        (1, 3, [[0]]),
        (3, 1, [[0], [1, 2]]),
    ],
)
def test_split_into_batches(count: int, size: int, expected: list[list[int]]) -> None:
    assert split_into_batches(range(count), batch_size=size) == expected


def write_slowly(index: int, out: np.ndarray) -> None:
    time.sleep(0.001 * (index % 3))
    out[...] = index


def load(batches: list[list[int]], *, threads: int = 2, **options: Any) -> Iterator[Any]:
    return load_batches(write_slowly, batches, shape=(2, 3), threads=threads, **options)


@pytest.mark.parametrize("threads", [1, 4])
def test_order_does_not_depend_on_threads(threads: int) -> None:
    batches = [[5, 1], [2, 4, 3], [0], [7], [8, 9, 6], [1, 2]]
    for (clips, indices), batch in zip(load(batches, threads=threads), batches, strict=True):
        assert indices == batch
        assert (clips.shape, clips.dtype) == ((len(batch), 2, 3), torch.uint8)
        assert clips[:, 0, 0].tolist() == batch


def test_no_batches() -> None:
    assert list(load([])) == []


def test_a_batch_is_not_written_while_it_is_in_use() -> None:
    """However long that takes; and the two ahead are then ready."""
    written: list[int] = []

    def write(index: int, out: np.ndarray) -> None:
        out[...] = index
        written.append(index)

    batches = [[number] for number in range(12)]
    loaded = load_batches(write, batches, shape=(4,), threads=4)
    for clips, (index,) in loaded:
        until = time.monotonic() + 60
        while len(written) < min(12, index + 1 + BATCHES_AHEAD) and time.monotonic() < until:
            time.sleep(0.001)
        assert clips.tolist() == [[index] * 4]
        assert sorted(written) == list(range(min(12, index + 1 + BATCHES_AHEAD)))


def test_memory_is_written_again() -> None:
    """Three buffers serve all batches: who keeps one must copy it."""
    kept = [clips for clips, _ in load([[number] for number in range(9)])]
    assert len({clips.data_ptr() for clips in kept}) == BATCHES_AHEAD + 1
    assert {int(clips.max()) for clips in kept} == {6, 7, 8}


def test_copies_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen without one: from pinned memory, on a stream beside; waited for before the next."""
    calls: list[str] = []

    def note(name: str, result: object = None) -> Callable[..., Any]:
        return lambda *_, **__: calls.append(name) or result

    def copy(clips: torch.Tensor, device: torch.device, non_blocking: bool) -> torch.Tensor:
        calls.append(f"copy {device}" if non_blocking else "a copy that waits")
        return clips.clone()

    library = SimpleNamespace(cudaHostRegister=note("pin", 0), cudaHostUnregister=note("unpin"))
    beside = SimpleNamespace(synchronize=note("copied"))
    computing = SimpleNamespace(wait_stream=note("wait"))
    for name, stub in {
        "Stream": note("stream", beside),
        "stream": lambda _: nullcontext(),
        "current_stream": lambda _: computing,
        "cudart": lambda: library,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stub)
    monkeypatch.setattr(torch.Tensor, "to", copy)
    monkeypatch.setattr(torch.Tensor, "record_stream", note("used there"))
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda _: True)
    loaded = load([[number] for number in range(5)], device=torch.device("cuda"))
    clips = []
    for batch, _ in loaded:
        clips.append(batch)
        calls.append("step")
    assert [int(batch[0, 0, 0]) for batch in clips] == [0, 1, 2, 3, 4]
    each = ["copy cuda", "wait", "used there", "step", "copied"]
    assert calls == ["stream", *["pin"] * 3, *each * 5, "copied", *["unpin"] * 3]


forks = pytest.mark.skipif(not CAN_FORK, reason="processes are forked on Linux alone")


@forks
@pytest.mark.parametrize("processes", [1, 3])
def test_processes_give_what_threads_give(processes: int) -> None:
    batches = [[5, 1], [2, 4, 3, 6], [0], [7], [8, 9, 6], [1, 2]]
    kinds = [
        [(clips.tolist(), items) for clips, items in load(batches, threads=processes, fork=fork)]
        for fork in (False, True)
    ]
    assert kinds[0] == kinds[1]
    assert list(load([], fork=True)) == []


@pytest.mark.parametrize("fork", [False, pytest.param(True, marks=forks)])
def test_what_samples_take(fork: bool) -> None:
    """Six of 0, 1, 2, 0, 1 and 2 ms of waiting: 6 ms at least, hardly any of it computing."""
    time = LoadingTime()
    assert len(list(load([[0, 1, 2], [3, 4, 5]], fork=fork, time=time))) == 2
    assert time.total >= 0.006
    assert 0 < time.computing < 0.006


@forks
def test_neighbours_are_loaded_by_one_process() -> None:
    def write(item: int, out: np.ndarray) -> None:
        out[...] = np.frombuffer(os.getpid().to_bytes(8, "little"), np.uint8)

    ((clips, _),) = load_batches(write, [list(range(8))], shape=(8,), threads=2, fork=True)
    processes = clips.numpy().view("<u8").ravel().tolist()
    assert len(set(processes[:4])) == len(set(processes[4:])) == 1
    assert os.getpid() not in processes


@forks
def test_an_error_in_a_process_reaches_the_caller_in_its_turn() -> None:
    def write(index: int, out: np.ndarray) -> None:
        if index == 3:
            raise InputError("sample 3 is broken")
        out[...] = index

    loaded = load_batches(write, [[1, 2], [3, 4]], shape=(1,), threads=2, fork=True)
    assert next(loaded)[0].tolist() == [[1], [2]]
    with pytest.raises(InputError, match="sample 3 is broken"):
        next(loaded)


@forks
def test_a_killed_process_is_told() -> None:
    def write(index: int, out: np.ndarray) -> None:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    parent = os.getpid()
    with pytest.raises(InputError, match=r"-9.*--threads"):
        list(load_batches(write, [[1]], shape=(1,), threads=1, fork=True))


@forks
def test_processes_end_with_the_loader(tmp_path: Path) -> None:
    def write(index: int, out: np.ndarray) -> None:
        (tmp_path / str(os.getpid())).touch()

    loaded = load_batches(write, [[i] for i in range(9)], shape=(1,), threads=2, fork=True)
    next(loaded)
    loaded.close()
    processes = [int(file.name) for file in tmp_path.iterdir()]
    assert processes
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_error_in_a_sample_reaches_the_caller() -> None:
    def write(index: int, out: np.ndarray) -> None:
        raise ValueError(f"sample {index} is broken")

    with pytest.raises(ValueError, match="sample 3 is broken"):
        list(load_batches(write, [[3]], shape=(2,), threads=2))


def test_leaving_early_stops_the_threads() -> None:
    running = load([[i] for i in range(100)])
    next(running)
    running.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]
