from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
import torch
from torch import nn

from twostream.training.step import accumulate_gradient

TorchRun = Callable[..., subprocess.CompletedProcess[str]]

CLIPS = torch.arange(5 * 2 * 3 * 8 * 8, dtype=torch.uint8).reshape(5, 2, 1, 3, 8, 8)
TARGET = torch.tensor([0, 1, 2, 1, 0])

# Five videos: rank 0 has three of them, rank 1 two. The last line of each rank is its own.
SHARED = """
import json, sys
import torch
from torch.nn.utils import parameters_to_vector
from twostream.training.distributed import joined_processes, rank, share_of
from twostream.training.shared_gradient import share_gradient
from twostream.training.step import NotFiniteError
from tests.twostream.training.test_shared_gradient import CLIPS, TARGET, gradient_of, network

with joined_processes("cpu"):
    result = {"share": list(share_of(range(5)))}
    for name in ("plain", "normalised"):
        net = network(name)
        clips = CLIPS[result["share"]]
        loss, scores = share_gradient(gradient_of(net), net, clips, TARGET)
        gradient = torch.cat([p.grad.reshape(-1) for p in net.parameters()])
        buffers = [b.double().flatten().tolist() for b in net.buffers()]
        result[name] = [loss, scores.tolist(), gradient.tolist(), buffers]
    net = network("plain")
    if rank() == 1:
        next(net.parameters()).data.fill_(float("nan"))
    try:
        share_gradient(gradient_of(net), net, clips, TARGET)
    except NotFiniteError as error:
        result["error"] = str(error)
    sys.stdout.write(json.dumps(result) + "\\n")
"""


class Snippets(nn.Module):
    """Segments folded into the batch, as SegmentNetwork does."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.layers(clips.flatten(0, 2).float() / 255).unflatten(0, (len(clips), -1))


def network(name: str) -> nn.Module:
    """The same weights whenever it is called."""
    torch.manual_seed(0)
    normalisation = [nn.BatchNorm2d(4)] if name == "normalised" else []
    made = Snippets(nn.Conv2d(3, 4, 3), *normalisation, nn.ReLU())
    made.eval()(CLIPS)  # the lazy layer learns its size; statistics stay as they are
    return made.train()


def gradient_of(net: nn.Module) -> Callable[..., tuple[float, torch.Tensor]]:
    def gradient(
        clips: torch.Tensor, target: torch.Tensor, whole: int = 0
    ) -> tuple[float, torch.Tensor]:
        return accumulate_gradient(
            net,
            clips,
            target,
            consensus=lambda logits: logits.mean(dim=1),
            device=torch.device("cpu"),
            precision="fp32",
            whole=whole,
        )

    return gradient


def test_shares_of_a_batch_give_the_step_of_the_whole(torchrun: TorchRun) -> None:
    done = torchrun(SHARED)
    assert done.returncode == 0, done.stderr
    ranks = sorted(map(json.loads, done.stdout.splitlines()), key=lambda result: result["share"])
    assert [result.pop("share") for result in ranks] == [[0, 2, 4], [1, 3]]
    assert ranks[0] == ranks[1]
    assert ranks[0]["error"] == "the loss is nan"

    loss, scores, gradient, _ = ranks[0]["plain"]
    net = network("plain")
    expected_loss, expected_scores = gradient_of(net)(CLIPS, TARGET)
    assert loss == pytest.approx(expected_loss)
    assert torch.allclose(torch.tensor(scores), expected_scores, atol=1e-6)
    expected = torch.cat([parameter.grad.reshape(-1) for parameter in net.parameters()])
    assert torch.allclose(torch.tensor(gradient), expected, atol=1e-6)

    statistics = []
    for share in ([0, 2, 4], [1, 3]):
        shared = network("normalised")
        gradient_of(shared)(CLIPS[share], TARGET[share])
        statistics.append(list(shared.buffers()))
    mean, variance, seen = (torch.tensor(values) for values in ranks[0]["normalised"][3])
    for shared, (one, other) in zip((mean, variance), zip(*statistics, strict=True), strict=False):
        assert torch.allclose(shared.float(), 0.6 * one + 0.4 * other, atol=1e-6)
    assert seen.tolist() == [1]
