"""Where the time of training goes: disk, decoding, crops, copies and steps, each by itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from flow_extract.store import StoreEntry, entry_paths
from twostream.data.dataset import sample_shape, write_snippets
from twostream.data.sampling import num_positions, random_in_segments, snippet_indices
from twostream.errors import InputError
from twostream.models import build_network
from twostream.models.consensus import CONSENSUS, reduction
from twostream.training.precision import find_precision
from twostream.training.step import accumulate_gradient
from twostream.transforms.augmentation import Augmentation, draw_view
from twostream.transforms.presets import Modality

SIZE, BATCH, MOST_VIDEOS = 224, 8, 64
LOADING, LEARNING = ("disk", "decode", "crop"), ("copy", "step")
CURES = {
    "disk": "a faster disk for the store, or more memory to keep it in; --codec jpeg makes the "
    "smallest files",
    "decode": "more --threads, or extract-flow --codec lz4, which decodes in half the time",
    "crop": "more --threads, or extract-flow with a smaller --short-side",
    "copy": "a smaller --input-size, or --precision bf16",
    "step": "loading keeps up; a GPU, --precision bf16, a smaller --input-size or a lighter "
    "--model make the step shorter",
}

Snippet = tuple[StoreEntry, list[int]]


def measure_parts(
    store: Path, modality: Modality, *, seconds: float, device: torch.device
) -> dict[str, float]:
    """Seconds that a snippet takes in each part of training on a store.

    `disk` reads the snippet of a file that was dropped from memory before, where the system can do
    that; `decode` and `crop` (to 224 pixels) follow, each in one thread. `copy` brings the bytes to
    the device and makes floats of them, `step` is that of a ResNet18 with batches of 8.

    Args:
        seconds: to spend in all, about; each part is done twice at least.

    Raises:
        InputError: the store has no video of that modality, or a damaged one.
    """
    rng = np.random.default_rng(0)
    snippets = _snippets(store, modality, rng=rng)
    clips = np.zeros((BATCH, *sample_shape(modality, num_segments=1, size=SIZE)), np.uint8)
    on_device = torch.from_numpy(clips).to(device)
    step = _training_step(modality, device)
    parts: dict[str, Callable[[], float]] = {
        "disk": lambda: _read(*next(snippets), modality),
        "decode": lambda: _decode(*next(snippets), modality),
        "crop": lambda: _crop(*next(snippets), modality, rng=rng),
        "copy": lambda: _timed(lambda: _floats(torch.from_numpy(clips), device)) / BATCH,
        "step": lambda: _timed(lambda: step(on_device)) / BATCH,
    }
    return {part: _mean(once, seconds=seconds / len(parts)) for part, once in parts.items()}


def find_bound(parts: dict[str, float], *, threads: int) -> dict[str, Any]:
    """Which part bounds training, and its cure, from the seconds of `measure_parts`.

    Returns:
        `loading` and `learning`, snippets a second of `threads` loader threads and of the network;
        `bound`, the largest part of the slower side; `cure`.
    """
    loading = threads / sum(parts[part] for part in LOADING)
    learning = 1 / sum(parts[part] for part in LEARNING)
    slower = LOADING if loading < learning else LEARNING
    bound = max(slower, key=lambda part: parts[part])
    return {"loading": loading, "learning": learning, "bound": bound, "cure": CURES[bound]}


def can_drop_from_memory() -> bool:
    """Whether this system forgets files on request, so that the disk itself is measured."""
    return hasattr(os, "posix_fadvise")


def _snippets(store: Path, modality: Modality, *, rng: np.random.Generator) -> Iterator[Snippet]:
    """Random snippets of up to 64 videos of the store, without end."""
    paths = list(entry_paths(store).values())
    chosen = rng.permutation(len(paths))[:MOST_VIDEOS]
    entries = [StoreEntry(paths[index]) for index in chosen]
    usable = [entry for entry in entries if _length(entry, modality)]
    if not usable:
        raise InputError(
            f"{store} holds no video with {modality.name}; `twostream extract-flow` makes them"
        )
    for entry in cycle(usable):
        length, wanted = _length(entry, modality), modality.snippet_length
        positions = num_positions(length, snippet_length=wanted)
        starts = random_in_segments(positions, 1, rng=rng)
        (indices,) = snippet_indices(starts, snippet_length=wanted, length=length)
        yield entry, sorted(set(indices))


def _length(entry: StoreEntry, modality: Modality) -> int:
    return entry.num_frames if modality.name == "rgb" else entry.num_flows


def _read(entry: StoreEntry, indices: list[int], modality: Modality) -> float:
    if can_drop_from_memory():
        with entry.path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return _timed(lambda: entry.blobs(modality.name, indices[0], len(indices)))


def _decode(entry: StoreEntry, indices: list[int], modality: Modality) -> float:
    entry.blobs(modality.name, indices[0], len(indices))  # now they are in memory
    return _timed(lambda: list(entry.pictures(modality.name, indices)))


def _crop(
    entry: StoreEntry, indices: list[int], modality: Modality, *, rng: np.random.Generator
) -> float:
    pictures = list(entry.pictures(modality.name, indices))
    view = draw_view(*entry.size, modality, Augmentation(), size=SIZE, rng=rng)
    out = np.zeros((1, 1, len(indices), modality.channels, SIZE, SIZE), np.uint8)
    return _timed(
        lambda: write_snippets(lambda _: pictures, [indices], [view], out, modality=modality)
    )


def _floats(clips: torch.Tensor, device: torch.device) -> None:
    clips.flatten(0, 2).to(device).to(torch.float32, memory_format=torch.channels_last)
    _wait_for(device)


def _training_step(modality: Modality, device: torch.device) -> Callable[[torch.Tensor], None]:
    consensus = CONSENSUS["mean"]
    network = build_network("resnet18", consensus=consensus, modality=modality, num_classes=101)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    precision = find_precision("auto", device)
    target = torch.zeros(BATCH, dtype=torch.int64)

    def step(clips: torch.Tensor) -> None:
        accumulate_gradient(
            network,
            clips,
            target,
            consensus=reduction(consensus),
            device=device,
            precision=precision,
        )
        optimizer.step()
        _wait_for(device)

    return step


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _mean(once: Callable[[], float], *, seconds: float) -> float:
    """Mean of what `once` measures, called until the time is over; the first call prepares."""
    once()
    end = time.perf_counter() + seconds
    measured = [once()]
    while time.perf_counter() < end:
        measured.append(once())
    return mean(measured)
