"""Each way of joining two streams at each point, of ResNet18s and of TSMs: learns, resumes, scores.

Whole runs, with their files, are in test_joint.py; these take the same steps in memory.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from twostream.commands.train import complete_options, train
from twostream.compute.device import Runtime
from twostream.models.two_streams import FUSION_POINTS
from twostream.scoring.logits import forward_views
from twostream.training.learner import Learner
from twostream.training.loop import Progress
from twostream.training.options import TrainOptions
from twostream_base.vision import torchvision

QUICK = [
    "--dataset", "ucf101", "--annotations", ".", "--store", ".", "--runs", "runs", "--stream",
    "joint", "--weights", "none", "--segments", "1", "--input-size", "32", "--batch-size", "2",
    "--device", "cpu", "--precision", "fp32",
]  # fmt: skip
LABELS = torch.tensor([0, 1])


class NarrowResNet(torchvision.models.ResNet):
    """The layers of a ResNet under their names, an eighth as wide, one block a stage."""

    def __init__(self) -> None:
        block = torchvision.models.resnet.BasicBlock
        super().__init__(block, [1, 1, 1, 1])
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.layer1, self.fc = nn.Sequential(block(8, 8)), nn.Linear(512 // 8, 2)

    def _make_layer(self, block: Any, planes: int, *arguments: Any, **options: Any) -> Any:
        return super()._make_layer(block, planes // 8, *arguments, **options)


@cache
def narrow() -> bytes:
    """A network, in the form in which it is copied the fastest."""
    return pickle.dumps(NarrowResNet())


def batch(seed: int, shape: tuple[int, ...]) -> Iterator[tuple[Tensor, list[int]]]:
    """Two videos; dropout and the like would follow the seed."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    yield torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator), [0, 1]


def scores(learner: Learner, clips: Tensor) -> np.ndarray:
    """Of each of two crops by itself, as scoring computes them."""
    runtime = Runtime(learner.device, "fp32", threads=1, views_per_forward=4)
    views = torch.cat([clips, clips.flip(-1)], dim=1).flatten(0, 1)
    ((_, logits),) = forward_views(learner.eval_network, [([views], [0, 1])], runtime, crops=2)
    return logits


@pytest.mark.parametrize("model", ["resnet18", "tsm-resnet18"])
@pytest.mark.parametrize("point", FUSION_POINTS)
def test_it_learns_scores_and_resumes_to_the_same_bits(
    point: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: pickle.loads(narrow()))
    monkeypatch.chdir(tmp_path)
    with train.make_context("train", [*QUICK, "--model", model, "--fuse-at", point]) as context:
        names = {field.name for field in fields(TrainOptions)}
        options, _ = complete_options({k: v for k, v in context.params.items() if k in names})
    options = replace(options, clip_length=2)
    modality = options.modality
    shape = (2, 1, modality.snippet_length, modality.channels, 32, 32)
    ((clips, _),) = batch(7, shape)

    def learn(learner: Learner, seed: int) -> None:
        learner.train(
            batch(seed, shape), labels=LABELS, progress=Progress(), after_step=lambda: None
        )

    for form in FUSION_POINTS[point]:
        of_form = replace(options, fuse=form)
        learner = Learner(of_form, num_classes=2, weights="none", tell=print)
        before = {k: v.clone() for k, v in learner.network.state_dict().items()}
        learn(learner, 1)
        saved = io.BytesIO()
        torch.save((learner.state(), learner.eval_network.state_dict()), saved)
        learn(learner, 2)
        saved.seek(0)
        state, weights = torch.load(saved, weights_only=False)
        resumed = Learner(of_form, num_classes=2, weights="none", tell=print)
        resumed.eval_network.load_state_dict(weights)
        resumed.restore(state)
        learn(resumed, 2)
        whole, again = learner.network.state_dict(), resumed.network.state_dict()
        assert all(torch.equal(whole[name], again[name]) for name in whole), form
        still = [k for k, _ in learner.network.named_parameters() if whole[k].equal(before[k])]
        assert not still, (form, still)
        logits = scores(learner, clips)
        assert logits.shape == (2, 1, 2, 2)
        assert np.isfinite(logits).all()
