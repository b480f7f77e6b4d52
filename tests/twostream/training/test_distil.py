"""Distillation: its losses by their formulas, what both see, and what does not go together."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from twostream.models.checkpoint import NetworkSpec, save_checkpoint
from twostream.models.segment_network import SegmentNetwork
from twostream.models.temporal_shift import FrameAverage
from twostream.training.distil import Distillation, load_teacher, match_logits, training_modality
from twostream.training.loop import accumulate_gradient
from twostream.transforms.presets import MODALITIES, Modality, modality_of
from twostream_base.errors import InputError

MOTION = NetworkSpec(
    model="resnet18", model_options={}, stream="motion", clip_length=10, frame_interval=1,
    resize=(), class_names=("a", "b"), num_segments=3, consensus="mean", consensus_options={},
    input_size=32, epoch=0, selected_on="val", flow={},
)  # fmt: skip
TSM = {"model": "tsm-resnet18", "clip_length": 8, "frame_interval": 0}


def options(**values: Any) -> Any:
    """The options of a run that distillation reads."""
    clip = {"model": "resnet18", "clip_length": 1, "frame_interval": 1, "resize": ()}
    fixed = {"input_size": 32, "consensus": "mean", "device": "cpu", "precision": "fp32"}
    how = {"distill": "mars", "distill_weight": 50.0, "temperature": 0.0, "teacher": "t"}
    known = SimpleNamespace(**clip | fixed | how | values)
    known.modality = modality_of(
        "spatial", clip_length=known.clip_length, frame_interval=known.frame_interval
    )
    return known


def teacher(folder: Path, **values: Any) -> str:
    """A run folder that says these things of its network; no weights to speak of."""
    save_checkpoint(folder / "best", nn.Linear(1, 1), replace(MOTION, **values), {})
    return str(folder)


def test_logits_by_their_formulas() -> None:
    s, t = torch.randn(2, 3, 2, 4, dtype=torch.float64)  # 3 videos, 2 segments, 4 classes
    assert float(match_logits(s, t)) == pytest.approx(float(((s - t) ** 2).mean() * 3))
    p, q = (np.exp(x.numpy() / 2) / np.exp(x.numpy() / 2).sum(-1, keepdims=True) for x in (t, s))
    expected = 4 * (p * np.log(p / q)).sum() / 2
    assert float(match_logits(s, t, 2.0)) == pytest.approx(expected)
    # A high temperature: half the squared difference of logits without their mean (Hinton, 2.1).
    difference = (s - t) - (s - t).mean(dim=-1, keepdim=True)
    assert float(match_logits(s, t, 1e4)) == pytest.approx(float((difference**2).sum()) / 16, 1e-3)


def small(modality: Modality) -> SegmentNetwork:
    channels = modality.channels * modality.snippet_length
    backbone = nn.Sequential(nn.Conv2d(channels, 5, 3), nn.BatchNorm2d(5), nn.ReLU(),
                             nn.AdaptiveAvgPool2d(1), nn.Flatten())  # fmt: skip
    return SegmentNetwork(backbone, nn.Linear(5, 2), modality)


@pytest.mark.parametrize("distill", ["mars", "mers", "logits"])
def test_the_gradient_is_that_of_the_published_steps(distill: str) -> None:
    """As the code of MARS and of MERS sets it, in two backward passes, with plain losses."""
    torch.manual_seed(0)
    student, taught_by = small(MODALITIES["spatial"]), small(MODALITIES["motion"])
    clips = torch.randint(0, 256, (3, 2, 1, 23, 8, 8), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 1])

    taught_by.eval()
    flow = clips[:, :, 0, 3:].unflatten(2, (10, 2))
    features = student.features(clips[:, :, :, :3])
    if distill == "logits":
        difference = F.mse_loss(student.classifier(features), taught_by(flow).detach())
    else:
        difference = 50 * F.mse_loss(features, taught_by.features(flow).detach())
    difference.backward(retain_graph=True)
    seen = features.detach() if distill == "mers" else features
    F.cross_entropy(student.classifier(seen).mean(dim=1), labels).backward()
    expected = [parameter.grad.clone() for parameter in student.parameters()]  # type: ignore

    how = options(distill=distill, distill_weight=1.0 if distill == "logits" else 50.0)
    further = Distillation(student, MOTION, taught_by.train(), how)
    for parts in (1, 3):
        student.eval() if parts > 1 else student.train()  # its batch statistics are of a part
        student.classifier.train()
        losses, _ = accumulate_gradient(
            student, clips, labels, parts, consensus=lambda logits: logits.mean(dim=1),
            device=torch.device("cpu"), precision="fp32", further_loss=further,
        )  # fmt: skip
        assert losses.isfinite().all()
        if parts == 1:
            gradients = [parameter.grad for parameter in student.parameters()]
            for gradient, right in zip(gradients, expected, strict=True):
                assert gradient is not None
                assert torch.allclose(gradient, right, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in taught_by.parameters())
    assert not taught_by.training
    assert torch.equal(student(clips), student(clips[:, :, :, :3]))  # RGB alone, as in scoring


def test_pictures_beside_each_frame_of_a_clip() -> None:
    """A teacher of pictures is asked of the ten pairs around each frame of a TSM student."""
    torch.manual_seed(0)
    pictures = small(MODALITIES["motion"]).eval()
    student = small(modality_of("spatial", clip_length=4, frame_interval=0))
    further = Distillation(student, MOTION, pictures, options(distill_weight=1.0))
    clips = torch.randint(0, 256, (2, 3, 4, 23, 8, 8), dtype=torch.uint8)
    student(clips)
    features = student.features(clips[:, :, :, :3])
    steps = [pictures.features(clips[:, :, t, 3:].unflatten(2, (10, 2))) for t in range(4)]
    expected = 2 * F.mse_loss(features.detach(), torch.stack(steps).mean(dim=0))
    loss = further(clips, torch.zeros(2)).item()
    assert loss == pytest.approx(float(expected), rel=1e-4)


def test_what_both_see_is_of_the_same_moments(tmp_path: Path) -> None:
    path = teacher(tmp_path / "pictures")
    picture = training_modality(options(teacher=path))
    assert picture.split_snippet(range(7, 17)) == [range(12, 17, 10), range(7, 17)]
    clip = training_modality(options(teacher=path, **TSM))
    assert (clip.snippet_length, clip.channels) == (8, 23)
    assert clip.sampling == {"snippet_length": 80, "interval": 0, "stack": 10}
    assert clip.scales == MODALITIES["spatial"].scales
    beside = training_modality(options(teacher=teacher(tmp_path / "clips", **TSM), **TSM))
    assert (beside.snippet_length, beside.channels) == (8, 5)
    assert beside.split_snippet(range(8)) == [range(8), range(8)]


def test_what_does_not_go_together(tmp_path: Path) -> None:
    pictures, clips = teacher(tmp_path / "pictures"), teacher(tmp_path / "clips", **TSM)
    rgb = teacher(tmp_path / "rgb", stream="spatial")
    for values, facts in (
        ({"teacher": rgb}, [rgb, "spatial", "--stream motion"]),
        ({"teacher": pictures, "input_size": 64}, [pictures, "--input-size 64", "32"]),
        ({"teacher": clips}, [clips, "--clip-length 1", "8", "--frame-interval 1", "0"]),
    ):
        with pytest.raises(InputError) as error:
            training_modality(options(**values))
        assert all(fact in str(error.value) for fact in facts), error.value
    wide = SegmentNetwork(nn.Identity(), nn.Linear(7, 2), MODALITIES["motion"])
    with pytest.raises(InputError, match="mars.* 5 features.* 7; .*--distill logits"):
        Distillation(small(MODALITIES["spatial"]), MOTION, wide, options())


def test_dropout_of_single_frames_would_alter_the_features(tmp_path: Path) -> None:
    student, taught_by = small(MODALITIES["spatial"]), small(MODALITIES["motion"])
    student.backbone = FrameAverage(student.backbone)
    Distillation(student, MOTION, taught_by, options())
    student.backbone.dropout.p = 0.5
    with pytest.raises(InputError, match="mars.*--dropout 0.*--distill logits"):
        Distillation(student, MOTION, taught_by, options())
    Distillation(student, MOTION, taught_by, options(distill="logits"))


def test_a_pass_that_failed_keeps_no_graph() -> None:
    student = small(MODALITIES["spatial"])
    further = Distillation(student, MOTION, small(MODALITIES["motion"]), options())
    clips = torch.zeros(1, 1, 1, 23, 8, 8, dtype=torch.uint8)
    student(clips)
    kept = weakref.ref(further._student)
    kept_before: list[Any] = []
    student.backbone.register_forward_pre_hook(lambda *_: kept_before.append(kept()))
    student(clips)
    assert kept_before == [None]


def test_the_classes_of_logits_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twostream.training.distil.load_network", lambda *_, **__: (MOTION, None))
    logits = options(distill="logits", teacher=str(tmp_path))
    assert load_teacher(logits, class_names=("a", "b")) == (MOTION, None)
    with pytest.raises(InputError, match="--distill logits.*other classes"):
        load_teacher(logits, class_names=("b", "a"))
    assert load_teacher(options(), class_names=("b", "a"))
    with pytest.raises(InputError, match="--consensus attention.*mars"):
        load_teacher(options(distill="logits", consensus="attention"), class_names=("a", "b"))
