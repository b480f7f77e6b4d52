"""Time and memory of a training step of a sequence network: T = 300, batch 2, fp32 and bf16.

    python benchmarks/sequence_step.py [DEVICE]

Network, loss, gradient, clipping and Adam on generated frames of 112 x 112, for three recipes.
DEVICE is `cuda` unless given; on a CPU the sizes are small, and only show that it works.
"""

from __future__ import annotations

import sys
import time
import tomllib
from statistics import median

import torch
from torch import nn
from torch.optim import Adam

from twostream.compute.device import autocast
from twostream.sequence.learner import ctc_losses
from twostream.sequence.network import build_network
from twostream.sequence.options import RECIPES

NAMES = ("full_conv", "full_conv_v3", "full_model_v5")
CLASSES, LABELS, STEPS, WARM_UP = 1233, 12, 7, 3


def main() -> None:
    device = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here; `cpu` as the argument shows that it works")
    for name in NAMES:
        for precision in ("fp32", "bf16"):
            seconds, peak = measure(name, device, precision)
            print(f"{name:16} {precision}: {1000 * seconds:8.1f} ms a step, {peak / 2**30:.2f} GiB")


def measure(name: str, device: torch.device, precision: str) -> tuple[float, int]:
    """Median seconds of a step, and the peak of the GPU's memory in bytes."""
    small = device.type != "cuda"
    torch.manual_seed(0)
    recipe = tomllib.loads(RECIPES[name].read_text())
    network = build_network(
        stream="spatial", backbone=recipe["backbone"], temporal=recipe["temporal"], classes=CLASSES
    ).to(device)
    optimizer = Adam(network.parameters(), lr=1e-4)
    frames, side = (60, 32) if small else (300, 112)
    clips = torch.randint(0, 256, (2, frames, 3, side, side), dtype=torch.uint8, device=device)
    lengths = torch.tensor([frames, frames * 4 // 5], device=device)
    targets = torch.randint(1, CLASSES, (2, LABELS)).tolist()
    if not small:
        torch.cuda.reset_peak_memory_stats(device)
    times = [step(network, optimizer, clips, lengths, targets, precision) for _ in range(STEPS)]
    peak = 0 if small else torch.cuda.max_memory_allocated(device)
    return median(times[WARM_UP:]), peak


def step(
    network: nn.Module,
    optimizer: Adam,
    clips: torch.Tensor,
    lengths: torch.Tensor,
    targets: list[list[int]],
    precision: str,
) -> float:
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    with autocast(clips.device, precision):
        log_probs, steps = network(clips, lengths)
    losses, _ = ctc_losses(log_probs, steps, targets)
    losses.mean().backward()
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    losses.sum().item()  # waits for the device
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
