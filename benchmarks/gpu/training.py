"""Training on the device: steps alone, mixing a batch, and steps fed by the loader."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.classical_loader import JpegTree, Stacks
from benchmarks.gpu.networks import NUM_CLASSES, build, random_clips, training_step
from benchmarks.gpu.target import Target
from benchmarks.gpu.videos import stored_videos
from twostream.data.dataset import TrainingSamples
from twostream.data.loader import load_batches
from twostream.transforms.augmentation import Augmentation
from twostream.transforms.clips import Box
from twostream.transforms.mixing import mix_batch

# Network, stream, videos, segments; then what is changed: cudnn's benchmark mode, float32,
# torch.compile, or for 3D networks the memory order that they have on a CPU.
CASES: list[tuple[str, str, int, int, set[str]]] = [
    ("resnet18", "motion", 64, 3, set()),
    ("resnet18", "motion", 64, 3, {"benchmark"}),
    ("i3d-resnet50", "spatial", 8, 1, set()),
    ("i3d-resnet50", "spatial", 8, 1, {"contiguous_3d"}),
    ("r3d_18", "spatial", 8, 1, set()),
    ("r3d_18", "spatial", 8, 1, {"contiguous_3d"}),
    ("r3d_18", "spatial", 8, 1, {"benchmark"}),
    ("tsm-resnet50", "spatial", 16, 1, set()),
    ("tsm-resnet50", "spatial", 16, 1, {"benchmark"}),
    ("mask-nonlocal-i3d-resnet50", "spatial", 4, 1, set()),
    ("resnet18", "motion", 64, 3, {"fp32"}),
    ("tsm-resnet50", "spatial", 16, 1, {"compile"}),
]
DRY_CASES = [
    ("resnet18", "motion", 2, 2, {"benchmark"}),
    ("mask-nonlocal-i3d-resnet18", "spatial", 1, 1, {"contiguous_3d", "fp32"}),
]


def networks(target: Target) -> Iterator[dict[str, Any]]:
    """Training steps alone, on clips that are on the device already: snippets per second."""
    size = 224 if target.is_gpu else 32
    for model, stream, num_videos, num_segments, changes in CASES if target.is_gpu else DRY_CASES:
        case = {"model": model, "stream": stream, "videos": num_videos, "segments": num_segments}
        case |= {"changes": " ".join(sorted(changes))}
        torch.backends.cudnn.benchmark = "benchmark" in changes
        try:
            network, modality = build(model, stream, target)
            if "contiguous_3d" in changes:
                network.order_3d_layers(torch.contiguous_format)
            trained = torch.compile(network) if "compile" in changes else network
            step = training_step(trained, target, precision="fp32" if "fp32" in changes else "bf16")
            clips = random_clips(
                num_videos, num_segments, modality, size=size, device=target.device
            )
            target.peak_gib()
            snippets = num_videos * num_segments
            rate = target.rate(lambda s=step, c=clips: s(c), snippets, seconds=1)
            yield {**case, "snippets_s": rate, "peak_gib": target.peak_gib()}
        except RuntimeError as error:  # out of memory, or no compiler: the other cases go on
            yield {"ok": False, **case, "why": str(error)[:200]}
        network = trained = step = clips = None  # the next case needs their memory


def mixing(target: Target) -> Iterator[dict[str, Any]]:
    """What mixup and cutmix of a batch cost on the device; the values must be the CPU's."""
    num_videos, num_segments, size = (64, 3, 224) if target.is_gpu else (2, 1, 64)
    clips = torch.randint(0, 256, (num_videos, num_segments, 10, 2, size, size), dtype=torch.uint8)
    labels = torch.eye(NUM_CLASSES)[:num_videos]
    on_device = clips.to(target.device), labels.to(target.device)
    for name, alphas in {"mixup": (0.2, 0.0), "cutmix": (0.0, 1.0)}.items():

        def mix(
            clips: Tensor, labels: Tensor, alphas: tuple[float, float] = alphas
        ) -> tuple[Tensor, Tensor]:
            rng = np.random.default_rng(0)
            return mix_batch(clips, labels, mixup_alpha=alphas[0], cutmix_alpha=alphas[1], rng=rng)

        # Of few videos, for a CPU takes seconds for all.
        few = [mix(part[:2], rows[:2]) for part, rows in ((clips, labels), on_device)]
        same = all(torch.equal(a, b.cpu()) for a, b in zip(*few, strict=True))
        ms = target.milliseconds(lambda mix=mix: mix(*on_device))
        yield {"ok": same, "what": name, "videos": num_videos, "ms": ms}


def loader(target: Target) -> Iterator[dict[str, Any]]:
    """Stacks per second of the step, of the loader, and of both together, by workers and codec.

    `busy` is the share of the time that the device would need for the steps alone.
    """
    network, modality = build("resnet18", "motion", target)
    size, batch_size = (224, 64) if target.is_gpu else (32, 4)
    step = training_step(network, target)
    shape = (1, modality.snippet_length, modality.channels, size, size)
    resident = torch.zeros((batch_size, *shape), dtype=torch.uint8, device=target.device)
    pinned = torch.zeros((batch_size, *shape), dtype=torch.uint8, pin_memory=target.is_gpu)
    step_alone = target.rate(lambda: step(resident), batch_size, seconds=1)
    yield {
        "step_stacks_s": step_alone,
        "step_with_copy_stacks_s": target.rate(lambda: step(pinned), batch_size, seconds=1),
    }

    def measured(store: str, workers: int, fork: bool, *, train: bool) -> dict[str, Any]:
        samples = TrainingSamples(
            stored_videos(target, store=store),
            modality,
            num_segments=1,
            input_size=size,
            augmentation=Augmentation(),
        )

        def write(item: int, out: np.ndarray) -> None:
            index = item % len(samples.videos)
            samples.write(index, out, rng=np.random.default_rng(item))

        batches = [
            list(range(start, start + batch_size))
            for start in range(0, (2000 if target.is_gpu else 4) * batch_size, batch_size)
        ]
        loaded = load_batches(
            write, batches, shape=shape, threads=workers, device=target.device, fork=fork
        )
        work = step if train else lambda _: None
        rate = batches_per_second(loaded, work, target, seconds=2) * batch_size
        case = {"store": store, "workers": workers, "kind": "processes" if fork else "threads"}
        if train:
            return {**case, "together_stacks_s": rate, "busy": rate / step_alone}
        return {**case, "loader_stacks_s": rate}

    cores = os.cpu_count() or 1
    yield measured("store", cores, True, train=False)
    yield measured("store", cores, True, train=True)
    for store in ("store-raw", "store-lz4"):
        if stored_videos(target, store=store):
            yield measured(store, cores, True, train=False)
            yield measured(store, cores, True, train=True)
    for workers in (1, cores // 2) if target.is_gpu else ():
        yield measured("store", workers, True, train=False)
    yield measured("store", cores, False, train=False)


def batches_per_second(
    batches: Iterable[tuple[Tensor, Any]],
    work: Callable[[Tensor], object],
    target: Target,
    *,
    seconds: float,
) -> float:
    """How many batches are loaded and worked on a second, once the first four are done."""
    start, count = 0.0, -4 if target.is_gpu else 0
    with closing(iter(batches)) as running:
        for clips, _ in running:
            work(clips)
            count += 1
            if not target.is_gpu:
                continue
            if count == 0:
                target.synchronize()
                start = time.perf_counter()
            if count > 0 and time.perf_counter() - start > seconds:
                break
        target.synchronize()
    return count / (time.perf_counter() - start)


def classical(target: Target) -> Iterator[dict[str, Any]]:
    """The same training by a plain loop: DataLoader over a tree of JPEG pictures, PIL, floats."""
    network, _ = build("resnet18", "motion", target)
    size, batch_size = (224, 64) if target.is_gpu else (32, 4)
    workers = (os.cpu_count() or 1) if target.is_gpu else 0
    tree = JpegTree.written(target.folder / "tree", stored_videos(target, store="store-raw")[:8])
    rng = np.random.default_rng(0)
    items = []
    for number in range(2000 if target.is_gpu else 8):
        side = int(rng.choice((256, 224, 192))) if target.is_gpu else 96
        items.append((number % 8, number % 20 if target.is_gpu else 0, Box(0, 0, side, side)))
    data = DataLoader(
        Stacks(tree, items, size=size),
        batch_size=batch_size,
        num_workers=workers,
        pin_memory=target.is_gpu,
    )
    layers = nn.Sequential(network.backbone, network.classifier)
    optimizer = torch.optim.SGD(layers.parameters(), lr=1e-3, momentum=0.9)

    def step(clips: Tensor) -> None:
        labels = torch.zeros(len(clips), dtype=torch.int64, device=target.device)
        with torch.autocast(target.device.type, torch.bfloat16):
            logits = layers(clips.to(target.device, non_blocking=True))
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    pairs = ((clips, None) for clips in data)
    rate = batches_per_second(pairs, step, target, seconds=6) * batch_size
    yield {"workers": workers, "together_stacks_s": rate}
