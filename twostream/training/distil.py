"""Distillation: an RGB network learns what a motion network makes of the flow of the same moments.

MARS and MERS: Crasto et al., "MARS: Motion-Augmented RGB Stream for Action Recognition", CVPR 2019.
Logits: Stroud et al., "D3D: Distilled 3D Networks for Video Action Recognition", WACV 2020; with a
temperature: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostream.compute.device import autocast
from twostream.models import sees_clips
from twostream.models.checkpoint import NetworkSpec, load_network, read_spec
from twostream.models.consensus import CONSENSUS, Learned
from twostream.models.segment_network import SegmentNetwork
from twostream.models.temporal_shift import FrameAverage
from twostream.training.options import BEST_WEIGHTS, TrainOptions
from twostream.transforms.presets import MODALITIES, Modality, joint
from twostream_base import plugins
from twostream_base.errors import InputError
from twostream_base.files import sha256_file


def match_features(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of features (N, S, D), summed over the N videos."""
    return F.mse_loss(student, teacher, reduction="sum") / student[0].numel()


def match_logits(student: Tensor, teacher: Tensor, temperature: float = 0.0) -> Tensor:
    """How far logits (N, S, classes) are from those of the teacher, summed over the N videos.

    Args:
        temperature: T^2 times the Kullback-Leibler divergence of softmax(logits / T), the mean of
            the segments; 0 for the mean squared difference of the logits, as D3D has it.
    """
    if not temperature:
        return match_features(student, teacher)
    divergence = F.kl_div(
        F.log_softmax(student / temperature, dim=-1),
        F.log_softmax(teacher / temperature, dim=-1),
        reduction="sum",
        log_target=True,
    )
    return temperature**2 * divergence / student.shape[1]


def training_modality(options: TrainOptions) -> Modality:
    """What the clips of training show: what the network sees, and for a teacher the flow beside it.

    A teacher of clips looks at the time steps of the student, one of pictures at the flow pairs
    around each of its frames.

    Raises:
        InputError: the teacher is no motion network, or cannot see what the student sees.
    """
    if not options.teacher:
        return options.modality
    path, student = Path(options.teacher), options.modality
    spec = read_spec(path / BEST_WEIGHTS.parent)
    if spec.stream != "motion":
        raise InputError(
            f"--teacher {path} is a {spec.stream} network; give a run of --stream motion"
        )
    of_clips = sees_clips(spec.model)
    stack = spec.stack if of_clips else spec.clip_length
    settings = [
        ("--input-size", options.input_size, spec.input_size),
        ("--resize", "x".join(map(str, options.resize)), "x".join(map(str, spec.resize))),
    ]
    if of_clips:
        settings.append(("--clip-length", options.clip_length, spec.clip_length // stack))
    interval = options.frame_interval if of_clips else 1  # pairs beside a frame are neighbours
    settings.append(("--frame-interval", interval, spec.frame_interval))
    unlike = [f"{name} {now} here, {old} there" for name, now, old in settings if now != old]
    if unlike:
        raise InputError(
            f"--teacher {path} looks at videos in another way: {'; '.join(unlike)}. Train the "
            "teacher again with the student's settings, or the student with the teacher's"
        )
    flow = MODALITIES["motion"].of_clips(
        clip_length=options.clip_length * stack,
        frame_interval=options.frame_interval,
        frame_size=student.frame_size,
        stack=stack,
    )
    return replace(joint(student, flow), scales=student.scales)


def load_teacher(
    options: TrainOptions, *, class_names: tuple[str, ...], trust_plugins: plugins.Trust = False
) -> tuple[NetworkSpec, SegmentNetwork] | None:
    """The teacher of a run; None without one.

    Raises:
        InputError: logits are to be matched, and are of other classes, or not of segments.
    """
    if not options.teacher:
        return None
    typed = [
        name for name in (options.model, options.consensus) if isinstance(name, plugins.TrustedName)
    ]
    spec, network = load_network(
        Path(options.teacher) / BEST_WEIGHTS.parent, trust_plugins=trust_plugins or typed
    )
    if options.distill == "logits":
        if spec.class_names != class_names:
            raise InputError(
                f"--distill logits: {options.teacher} was trained on other classes, or on another "
                "order of them; take --distill mars, or train it again"
            )
        for consensus in (options.consensus, spec.consensus):
            if isinstance(CONSENSUS.get(consensus), Learned):
                raise InputError(
                    f"--distill logits compares what both say of each segment, and --consensus "
                    f"{consensus} says it of videos; take --distill mars"
                )
    return spec, network


def teacher_card(options: TrainOptions) -> dict[str, Any]:
    """What the student's weights say of its teacher; empty without one."""
    if not options.teacher:
        return {}
    path = Path(options.teacher)
    spec = read_spec(path / BEST_WEIGHTS.parent)
    return {
        "run": path.name,
        "weights": sha256_file(path / BEST_WEIGHTS),
        "stream": spec.stream,
        "model": spec.model,
        "epoch": spec.epoch,
        "distill": options.distill,
        "weight": options.distill_weight,
        "temperature": options.temperature,
    }


class Distillation:
    """What a student is further away from its teacher, beside what its own loss says.

    The student is given clips of both, and sees the RGB in them. With `mers` its classifier alone
    learns from the labels, and all else from the teacher.

    Args:
        student: on its device. Hooks in it keep what passes through.
        spec, teacher: as `load_teacher` returns them.

    Raises:
        InputError: features are to be matched, and one has more of them, or --dropout of single
            frames alters them before they can be read.
    """

    def __init__(
        self,
        student: SegmentNetwork,
        spec: NetworkSpec,
        teacher: SegmentNetwork,
        options: TrainOptions,
    ) -> None:
        self.options, self.device = options, torch.device(options.device)
        of_features = options.distill != "logits"
        sizes = student.feature_size, teacher.feature_size
        if of_features and sizes[0] != sizes[1]:
            raise InputError(
                f"--distill {options.distill}: {options.model} has {sizes[0]} features, the "
                f"teacher {spec.model} {sizes[1]}; take networks of as many, or --distill logits"
            )
        if of_features and any(
            isinstance(module, FrameAverage) and module.dropout.p for module in student.modules()
        ):
            raise InputError(
                f"--distill {options.distill}: --dropout of {options.model} is of single frames, "
                "before the features that are compared; give --dropout 0, or --distill logits"
            )
        self.teacher = teacher.requires_grad_(False).eval()
        self.teacher.to_device(self.device)
        self.length = 0 if sees_clips(spec.model) else spec.clip_length  # of its pictures
        self._student: Tensor | None = None
        student.register_forward_pre_hook(self._see_rgb)
        # Before what --dropout hooks in at the classifier: the features as they are.
        student.classifier.register_forward_pre_hook(self._keep_features, prepend=True)
        if not of_features:
            student.classifier.register_forward_hook(self._keep_logits)

    def __call__(self, clips: Tensor, target: Tensor) -> Tensor:
        """The sum over the videos of the last forward pass, of their clips (N, S, T, C, H, W)."""
        assert self._student is not None
        student, self._student = self._student.float(), None
        with torch.no_grad(), autocast(self.device, self.options.precision):
            flow = clips[:, :, :, 3:].to(self.device, non_blocking=True)
            taught = self._teach(flow.unflatten(3, (-1, 2)).flatten(2, 3)).float()
        if self.options.distill == "logits":
            return self.options.distill_weight * match_logits(
                student, taught, self.options.temperature
            )
        return self.options.distill_weight * match_features(student, taught)

    def _teach(self, flow: Tensor) -> Tensor:
        """What the teacher makes of pairs (N, S, T, 2, H, W); a mean, where it sees pictures."""
        pictures = flow.shape[2] // self.length if self.length else 1
        clips = flow.unflatten(2, (pictures, -1)).flatten(1, 2)
        output = (
            self.teacher(clips)
            if self.options.distill == "logits"
            else self.teacher.features(clips)
        )
        return output.unflatten(1, (-1, pictures)).mean(dim=2)

    def _keep_features(self, classifier: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        if classifier.training:
            self._student = inputs[0]
        return (inputs[0].detach(),) if self.options.distill == "mers" else inputs

    def _keep_logits(self, classifier: nn.Module, inputs: tuple[Tensor], logits: Tensor) -> None:
        if classifier.training:
            self._student = logits

    def _see_rgb(self, network: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        self._student = None  # a pass that ran out of memory must not keep its graph
        return (inputs[0][:, :, :, :3],)
