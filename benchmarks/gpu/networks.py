"""The networks that the steps train and score, and the training step itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.target import Target
from twostream import Modality, SegmentNetwork, create_model
from twostream.models.consensus import mean
from twostream.training.loop import accumulate_gradient

NUM_CLASSES = 101


def build(model: str, stream: str, target: Target) -> tuple[SegmentNetwork, Modality]:
    """A network of random weights on the device, and what it takes in."""
    network = create_model(model, stream=stream, num_classes=NUM_CLASSES)
    network.to_device(target.device)
    return network, network.modality


def random_clips(
    num_videos: int,
    num_segments: int,
    modality: Modality,
    *,
    size: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Noise, uint8 (N, S, T, C, size, size)."""
    shape = (num_videos, num_segments, modality.snippet_length, modality.channels, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, device=device)


def set_gradient(
    network: nn.Module, clips: Tensor, labels: Tensor, *, target: Target, precision: str
) -> float:
    """Forward and backward pass of a batch by the product's own function: the mean loss."""
    losses, _ = accumulate_gradient(
        network, clips, labels, consensus=mean, device=target.device, precision=precision
    )
    return losses.sum().item() / len(labels)


def training_step(
    network: nn.Module, target: Target, *, precision: str = "bf16"
) -> Callable[[Tensor], Any]:
    """What trains `network` on a batch of clips, all of class 0; it does not wait for the GPU."""
    network.train()
    optimizer = torch.optim.SGD(
        network.parameters(), lr=1e-3, momentum=0.9, fused=True if target.is_gpu else None
    )

    def step(clips: Tensor) -> None:
        accumulate_gradient(
            network,
            clips,
            torch.zeros(len(clips), dtype=torch.int64, device=target.device),
            consensus=mean,
            device=target.device,
            precision=precision,
        )
        optimizer.step()

    return step
