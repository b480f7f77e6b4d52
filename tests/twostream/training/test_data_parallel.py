"""Two processes that learn from shares of a batch, against one that learns from all of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from twostream.models.activation_checkpointing import checkpoint_activations
from twostream.models.learned_consensus import AttentionClassifier
from twostream.training.loop import accumulate_gradient

TwoProcesses = Callable[..., subprocess.CompletedProcess[str]]

CLIPS = torch.randint(
    256, (5, 2, 1, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
TARGET = torch.tensor([0, 1, 2, 1, 0])
CASES = ("plain", "parts", "unused", "attention", "recomputed", "normalised")

# Five videos: rank 0 has three of them, rank 1 two. Rank 0 cuts its share in parts where it may.
STEPS = """
import torch
from twostream.compute.distributed import (
    data_parallel, process_group, world_size, rank, shard, sum_over_processes,
)
from tests.twostream.training.test_data_parallel import *

results = {}
with process_group("cpu"):
    mine = shard(range(5))
    for case in CASES:
        net = network(case)
        wrapped = data_parallel(net, lambda net: gradient_of(net, CLIPS[:2], TARGET[:2]))
        net.load_state_dict(network(case).state_dict())
        for _ in range(2):
            parts = 2 if case == "parts" and rank() == 0 else 1
            share = gradient_of(wrapped, CLIPS[mine], TARGET[mine], divisor=5 / 2, parts=parts)
            results[case] = [*sum_over_processes(net, *share, num_videos=5), *tensors(net)]
    if rank() == 1:
        net.classifier.weight.data.fill_(float("nan"))
    share = gradient_of(wrapped, CLIPS[mine], TARGET[mine])
    results["nan"] = sum_over_processes(net, *share, num_videos=5)[0]
    torch.save(results, f"rank{rank()}.pt")
"""


class Network(nn.Module):
    """Segments folded into the batch, as SegmentNetwork does."""

    def __init__(self, case: str) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(4) if case == "normalised" else nn.Identity()
        self.blocks = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Conv2d(4, 4, 3)))
        self.classifier = AttentionClassifier(64, 3) if case == "attention" else nn.Linear(64, 3)
        if case == "unused":
            self.unused = nn.Linear(3, 3)

    def forward(self, clips: Tensor) -> Tensor:
        features = self.blocks(clips.flatten(0, 2).float() / 255).flatten(1).relu()
        return self.classifier(features.unflatten(0, clips.shape[:2]))


def network(case: str) -> nn.Module:
    """The same weights whenever it is called."""
    torch.manual_seed(0)
    net = Network(case)
    if case == "recomputed":
        assert checkpoint_activations(net) == 1
    return net


def gradient_of(net: nn.Module, clips: Tensor, target: Tensor, **options: Any) -> Any:
    return accumulate_gradient(
        net, clips, target, consensus=lambda logits: logits.mean(dim=1),
        device=torch.device("cpu"), precision="fp32", **options,
    )  # fmt: skip


def tensors(net: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    gradients = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    return gradients, {name: buffer.clone() for name, buffer in net.named_buffers()}


def test_two_processes_take_the_step_of_one(two_processes: TwoProcesses, tmp_path: Path) -> None:
    done = two_processes(STEPS)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert not torch.isfinite(torch.tensor([first.pop("nan"), second.pop("nan")])).any()
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    for case in CASES[:-1]:
        net = network(case)
        losses, scores = gradient_of(net, CLIPS, TARGET)
        gradients, _ = tensors(net)
        expected = [losses.double(), scores, gradients, {}]
        torch.testing.assert_close(first[case], expected, rtol=0, atol=1e-5)
    assert not [name for name in first["unused"][2] if name.startswith("unused")]

    # Batch normalisation sees shares; its running statistics are the mean over the videos.
    running, gradients = network("normalised").state_dict(), {}
    for _ in range(2):
        shares = []
        for videos in ([0, 2, 4], [1, 3]):
            net = network("normalised")
            net.load_state_dict(running)
            gradient_of(net, CLIPS[videos], TARGET[videos], divisor=5.0)
            shares.append(tensors(net))
        gradients = {name: shares[0][0][name] + shares[1][0][name] for name in shares[0][0]}
        for name in shares[0][1]:
            if "running" in name:
                running[name] = 0.6 * shares[0][1][name] + 0.4 * shares[1][1][name]
    torch.testing.assert_close(first["normalised"][2], gradients, rtol=0, atol=1e-5)
    for name, value in first["normalised"][3].items():
        if "running" in name:
            torch.testing.assert_close(value, running[name], rtol=0, atol=1e-6)
        else:
            assert value == 2
