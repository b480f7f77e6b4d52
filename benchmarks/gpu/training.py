"""Training on the device: steps alone, mixing a batch, and steps fed by the loader."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.networks import NUM_CLASSES, build, random_clips, training_step
from benchmarks.gpu.target import Target
from benchmarks.gpu.videos import stored_videos
from twostream.data.dataset import TrainingSamples
from twostream.data.loader import load_batches
from twostream.transforms.augmentation import Augmentation
from twostream.transforms.mixing import mix_batch

# Network, stream, videos, segments; then what is changed: cudnn's benchmark mode, float32,
# torch.compile, or a memory order for 3D networks that the product does not set.
CASES: list[tuple[str, str, int, int, set[str]]] = [
    ("resnet18", "motion", 64, 1, set()),
    ("resnet18", "motion", 64, 3, set()),
    ("resnet18", "motion", 64, 3, {"benchmark"}),
    ("resnet18", "motion", 64, 3, {"fp32"}),
    ("tsm-resnet50", "spatial", 16, 1, set()),
    ("tsm-resnet50", "spatial", 16, 1, {"compile"}),
    ("i3d-resnet50", "spatial", 8, 1, set()),
    ("i3d-resnet50", "spatial", 8, 1, {"benchmark"}),
    ("i3d-resnet50", "spatial", 8, 1, {"benchmark", "channels_last_3d"}),
    ("r3d_18", "spatial", 8, 1, set()),
    ("mask-nonlocal-i3d-resnet50", "spatial", 4, 1, set()),
]
DRY_CASES = [
    ("resnet18", "motion", 2, 2, {"benchmark"}),
    ("mask-nonlocal-i3d-resnet18", "spatial", 1, 1, {"channels_last_3d", "fp32"}),
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
            if "channels_last_3d" in changes:
                put_channels_last(network.backbone)
            trained = torch.compile(network) if "compile" in changes else network
            step = training_step(trained, target, precision="fp32" if "fp32" in changes else "bf16")
            clips = random_clips(
                num_videos, num_segments, modality, size=size, device=target.device
            )
            target.peak_gib()
            snippets = num_videos * num_segments
            rate = target.rate(lambda s=step, c=clips: s(c), snippets, seconds=1.5)
            yield {**case, "snippets_s": rate, "peak_gib": target.peak_gib()}
        except RuntimeError as error:  # out of memory, or no compiler: the other cases go on
            yield {"ok": False, **case, "why": str(error)[:200]}
        network = trained = step = clips = None  # the next case needs their memory


def put_channels_last(backbone: nn.Module) -> None:
    backbone.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def reorder(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0].contiguous(memory_format=torch.channels_last_3d),)

    backbone.register_forward_pre_hook(reorder)


def mixing(target: Target) -> Iterator[dict[str, Any]]:
    """Mixup of a batch where it is now, on the CPU; and on the device, for comparison."""
    num_videos, num_segments, size = (64, 3, 224) if target.is_gpu else (2, 1, 64)
    for device in dict.fromkeys(("cpu", str(target.device))):
        clips = torch.zeros((num_videos, num_segments, 10, 2, size, size), dtype=torch.uint8)
        labels = torch.eye(NUM_CLASSES)[:num_videos]
        clips, labels = clips.to(device), labels.to(device)

        def mix(clips: Tensor = clips, labels: Tensor = labels) -> object:
            rng = np.random.default_rng(0)
            return mix_batch(clips, labels, mixup_alpha=0.2, cutmix_alpha=0, rng=rng)

        yield {"device": device, "videos": num_videos, "ms": target.milliseconds(mix)}


def loader(target: Target) -> Iterator[dict[str, Any]]:
    """Stacks per second of the loader, of the step, and of both together, by loader threads.

    `busy` is the share of the time that the device would need for the steps alone.
    """
    videos = stored_videos(target)
    network, modality = build("resnet18", "motion", target)
    size = 224 if target.is_gpu else 32
    samples = TrainingSamples(
        videos, modality, num_segments=1, input_size=size, augmentation=Augmentation()
    )
    shape = samples.shape
    batch_size, num_batches = (64, 64) if target.is_gpu else (4, 2)
    step = training_step(network, target)

    def write(item: int, out: np.ndarray) -> None:
        samples.write(item % len(videos), out, rng=np.random.default_rng(item))

    def epoch(work: Callable[[Tensor], object], batches: list[list[int]], threads: int) -> None:
        loaded = load_batches(write, batches, shape=shape, threads=threads, device=target.device)
        for clips, _ in loaded:
            work(clips)

    resident = torch.zeros((batch_size, *shape), dtype=torch.uint8, device=target.device)
    pinned = torch.zeros((batch_size, *shape), dtype=torch.uint8, pin_memory=target.is_gpu)
    step_alone = target.rate(lambda: step(resident), batch_size, seconds=2)
    yield {
        "step_stacks_s": step_alone,
        "step_with_copy_stacks_s": target.rate(lambda: step(pinned), batch_size, seconds=2),
    }
    batches = [
        list(range(start, start + batch_size))
        for start in range(0, num_batches * batch_size, batch_size)
    ]
    few = batches[: max(1, num_batches // 8)]  # one thread would need too long for all
    loaded = target.rate(lambda: epoch(lambda _: None, few, 1), len(few) * batch_size, seconds=0.5)
    yield {"threads": 1, "loader_stacks_s": loaded}
    cores, stacks = os.cpu_count() or 1, num_batches * batch_size
    for threads in (max(1, cores // 2), cores, 2 * cores) if target.is_gpu else (2,):
        loaded = target.rate(
            lambda t=threads: epoch(lambda _: None, batches, t), stacks, seconds=0.5
        )
        both = target.rate(lambda t=threads: epoch(step, batches, t), stacks, seconds=0.5)
        yield {
            "threads": threads,
            "loader_stacks_s": loaded,
            "together_stacks_s": both,
            "busy": both / step_alone,
        }
