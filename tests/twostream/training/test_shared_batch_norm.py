"""Shares of a batch in two processes, against the whole batch through torch's own layers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from twostream.models.recompute import recompute_blocks
from twostream.training.regularisation import freeze_batch_norm

from .test_shared_gradient import gradient_of

TorchRun = Callable[..., subprocess.CompletedProcess[str]]

CLIPS = torch.randint(
    256, (5, 2, 2, 2, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
TARGET = torch.tensor([0, 1, 2, 1, 0])
VIDEOS = {"unequal": 5, "equal": 4, "frozen": 5, "recomputed": 5, "cumulative": 5, "unbiased": 5}

# Writes what a step gave to each rank: loss, scores, gradients and buffers, by name of the case.
STEPS = """
import torch
from twostream.training.distributed import joined_processes, rank, share_of
from twostream.training.shared_batch_norm import share_batch_norms
from twostream.training.shared_gradient import share_gradient
from tests.twostream.training.test_shared_batch_norm import *

results = {}
with joined_processes("cpu"):
    for case, videos in VIDEOS.items():
        net = network(case, prepare=share_batch_norms)
        clips = CLIPS[share_of(range(videos))]
        step = share_gradient(gradient_of(net), net, clips, TARGET[:videos])
        results[case] = [*step, *tensors(net)]
    net = network("unequal", prepare=share_batch_norms)
    if rank() == 1:
        net.classifier.bias.data.fill_(float("nan"))
    try:
        share_gradient(gradient_of(net), net, CLIPS[share_of(range(5))], TARGET)
    except ArithmeticError as error:
        results["error"] = str(error)
    torch.save(results, f"rank{rank()}.pt")
"""


class Norms(nn.Module):
    """Layers of one, two and three dimensions, one without weights, inside blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Conv3d(4, 4, 1)),
            nn.Sequential(
                nn.Flatten(1, 2),
                nn.Conv2d(8, 4, 3, bias=False),
                nn.BatchNorm2d(4, affine=False),
                nn.ReLU(),
                nn.Conv2d(4, 4, 3),
            ),
        )
        self.norm = nn.BatchNorm1d(4 * 4 * 4)
        self.classifier = nn.Linear(4 * 4 * 4, 3)

    def forward(self, clips: Tensor) -> Tensor:
        snippets = clips.flatten(0, 1).transpose(1, 2).float() / 255
        features = self.norm(self.blocks(snippets).flatten(1))
        return self.classifier(features).unflatten(0, (len(clips), -1))


def network(case: str, *, prepare: Callable[[nn.Module], None] = lambda net: None) -> nn.Module:
    """The same weights whenever it is called."""
    torch.manual_seed(0)
    net = Norms()
    prepare(net)
    if case == "recomputed":
        assert recompute_blocks(net) == 2
    if case == "cumulative":
        net.norm.momentum = None
    if case == "unbiased":
        net.norm.bias = None
    net.train()
    if case == "frozen":
        freeze_batch_norm(net)
    return net


def tensors(net: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return gradients, dict(net.named_buffers())


def test_two_processes_take_the_step_of_one(torchrun: TorchRun, tmp_path: Path) -> None:
    done = torchrun(STEPS)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert first.pop("error") == second.pop("error") == "the loss is nan"
    for case, videos in VIDEOS.items():
        net = network(case)
        gradient = gradient_of(net)(CLIPS[:videos], TARGET[:videos])
        expected = [*gradient, *tensors(net)]
        for of_first, of_second, of_one in zip(first[case], second[case], expected, strict=True):
            torch.testing.assert_close(of_first, of_second, rtol=0, atol=0)
            torch.testing.assert_close(of_first, of_one, rtol=0, atol=1e-5)
    buffers = first["frozen"][3]
    assert buffers["norm.running_mean"].unique().tolist() == [0.0], "frozen, so it learns nothing"
    assert buffers["blocks.0.1.running_mean"].abs().min() > 0
