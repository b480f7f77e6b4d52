"""A sequence network: frames -> features -> temporal modules -> log-probabilities for CTC."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from twostream.models import TWO_STREAMS
from twostream.models.backbones import build_backbone
from twostream.models.checkpoint import WEIGHTS
from twostream.models.initial_weights import initial_weights, read_weights
from twostream.models.joining import HEADS, Head
from twostream.models.temporal.dynamic_framing import DynamicFraming
from twostream.models.temporal.frame_selection import Dedup, RandomSampling, valid_mask
from twostream.models.temporal.stages import build_stages, read_stage
from twostream.models.two_streams import TwoStreams
from twostream.sequence.options import SIMILARITIES, STEP_FORMS
from twostream.transforms.presets import MODALITIES, Modality, joint
from twostream_base import plugins
from twostream_base.errors import InputError


class SequenceNetwork(nn.Module):
    """Padded clips in, log-probabilities of the blank and all glosses for each time step out.

    Padding frames never enter the backbone, so they change no batch statistic.

    Args:
        backbone: (N, C, H, W) -> (N, D), with `out_features` D.
        temporal: (N, T, D) and lengths -> (N, T', D') and lengths, with `out_features` D'.
        classifier: (N, T', D') -> logits (N, T', classes), of the blank and all glosses.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, temporal: nn.Module, classifier: nn.Module, *, modality: Modality
    ) -> None:
        super().__init__()
        self.backbone, self.temporal, self.classifier = backbone, temporal, classifier
        for name, values in (("mean", modality.mean), ("std", modality.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, clips: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 (N, T, C, H, W) and int64 (N,) -> float32 (N, T', classes) and int64 (N,)."""
        features, lengths = self.temporal(self.frame_features(clips, lengths), lengths)
        return log_probs(self.classifier(features)), lengths

    def frame_features(self, clips: Tensor, lengths: Tensor) -> Tensor:
        """Features of each frame, (N, T, D); those of padding are 0."""
        valid = valid_mask(lengths, clips.shape[1])
        frames = (clips[valid].to(self.mean.dtype) - self.mean) / self.std
        frame_features = self.backbone(frames.contiguous(memory_format=torch.channels_last))
        features = frame_features.new_zeros(*valid.shape, frame_features.shape[1])
        return features.masked_scatter(valid[:, :, None], frame_features)


def log_probs(logits: Tensor) -> Tensor:
    """Natural logarithms of probabilities, float32 under autocast too."""
    return logits.float().log_softmax(dim=2)


class JointSequenceNetwork(SequenceNetwork):
    """RGB and flow in one network, joined at each time step in front of one CTC loss.

    Networks that learnt apart say a gloss at different steps, so that their mean loses it; here one
    loss sees both. Losses of each stream by itself keep both backbones learning: Chen et al.,
    "Two-Stream Network for Sign Language Recognition and Translation", NeurIPS 2022, section 3.2.
    Where dynamic framing comes first, it takes the same frames for both streams.

    Args:
        backbone: of both streams, to their features side by side.
        temporal: stages of each stream, a module of its name.
        classifier: of both streams, one of `models.joining.HEADS`.
        similarity: the features that choose the frames, one of SIMILARITIES.
    """

    temporal: nn.ModuleDict

    def __init__(
        self,
        backbone: nn.Module,
        temporal: nn.ModuleDict,
        classifier: Head,
        *,
        similarity: str,
        modality: Modality,
    ) -> None:
        super().__init__(backbone, temporal, classifier, modality=modality)
        self.similarity = similarity

    def forward(self, clips: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 (N, T, 5, H, W), RGB and u, v -> as `SequenceNetwork`, of both streams."""
        features, lengths = self.step_features(clips, lengths)
        return log_probs(self.classifier(features)), lengths

    def heads(self, clips: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """As `forward`: of both streams, of RGB alone, and of flow alone; and the time steps."""
        features, lengths = self.step_features(clips, lengths)
        logits = [self.classifier(features), *self.classifier.streams(features)]  # type: ignore
        return [log_probs(values) for values in logits], lengths

    def step_features(self, clips: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features of each time step, of both streams side by side (N, T', D1 + D2)."""
        both = self.frame_features(clips, lengths)
        frames = dict(zip(TWO_STREAMS, both.chunk(2, dim=2), strict=True))
        snippets = self.temporal["spatial"].select(  # type: ignore[operator]
            frames.get(self.similarity, both), lengths
        )
        steps = [self.temporal[key](frames[key], lengths, snippets) for key in TWO_STREAMS]
        return torch.cat([features for features, _ in steps], dim=2), steps[0][1]


def build_network(
    *,
    stream: str,
    backbone: str,
    temporal: Sequence[str],
    classes: int,
    fuse: str = "sum",
    similarity: str = "joined",
) -> SequenceNetwork:
    """Build from texts, such as backbone `plain width=8` and temporal [`dynamic_framing`, `conv`].

    Args:
        stream: `joint` has two such backbones and chains of temporal modules.
        fuse, similarity: of a joint network; a name in HEADS, and one of SIMILARITIES.

    Raises:
        InputError: an unknown name or option.
    """
    if similarity not in SIMILARITIES:
        raise InputError(f"similarity {similarity!r}: expected one of {', '.join(SIMILARITIES)}")
    if stream == "joint":  # RGB, and the flow that begins at each frame
        one_pair = replace(MODALITIES["motion"], snippet_length=1)
        modality = joint(MODALITIES["spatial"], one_pair)
    else:
        modality = MODALITIES[stream]
    name, options = read_stage(backbone)
    build = plugins.load(name, FRAME_BACKBONES)
    plugins.check_options(build, options, what=f"backbone {name}", positional=1)
    towers = [build(part.channels, **options) for part in modality.parts or (modality,)]
    chains = [build_stages(temporal, in_features=tower.out_features) for tower in towers]
    classifiers = [nn.Linear(chain.out_features, classes) for chain in chains]
    if len(towers) == 1:
        return SequenceNetwork(towers[0], chains[0], classifiers[0], modality=modality)
    for number, (text, stage) in enumerate(zip(temporal, chains[0].stages, strict=True)):
        drops = isinstance(stage, DynamicFraming) and number and stage.keep != "all"
        if drops or isinstance(stage, RandomSampling | Dedup):
            raise InputError(
                f"temporal module {text!r} would keep other frames of RGB than of flow; for "
                "--stream joint give dynamic_framing keep=sampled or keep=distinct first"
            )
    return JointSequenceNetwork(
        TwoStreams(towers[0], towers[1], modality, is_3d=False),
        nn.ModuleDict(dict(zip(TWO_STREAMS, chains, strict=True))),
        plugins.load(fuse, STEP_HEADS)(*classifiers),
        similarity=similarity,
        modality=modality,
    )


STEP_HEADS = {name: HEADS[name] for name in STEP_FORMS}


def without_weights(backbone: str) -> str:
    """`backbone` without its `weights=` option, for a network whose weights are loaded next."""
    words = (word for word in backbone.split() if not word.startswith("weights="))
    return type(backbone)(" ".join(words))  # one that is trusted stays so


class PlainCnn(nn.Module):
    """The notes' plain CNN: a convolution, then four blocks that double the channels.

    Cheng et al., "Fully Convolutional Networks for Continuous Sign Language Recognition", ECCV
    2020: 3 x 3 convolutions with batch norm and ReLU, five poolings by 2, then a global average.

    Args:
        width: channels of the first layer; the features are 16 times as many (512).
    """

    def __init__(self, in_channels: int, *, width: int = 32) -> None:
        super().__init__()

        def convolution(inputs: int, outputs: int) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

        widths = [width * 2**block for block in range(5)]
        layers: list[nn.Module] = [*convolution(in_channels, width), nn.MaxPool2d(2)]
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            layers += [*convolution(inputs, outputs), nn.MaxPool2d(2)]
            layers += convolution(outputs, outputs)
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.out_features = widths[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W), at least 32 x 32 -> (N, 16 * width)."""
        features: Tensor = self.layers(frames)
        return features


class ResNet18(nn.Module):
    """A ResNet18 without its classifier; `weights` as in `initial_weights`."""

    def __init__(self, in_channels: int, *, weights: str = "none") -> None:
        super().__init__()
        start = initial_weights(weights, model="resnet18")
        self.network, self.out_features = build_backbone(
            "resnet18", in_channels=in_channels, state=start.layers, source=start.source
        )

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 512)."""
        features: Tensor = self.network(frames)
        return features


FRAME_BACKBONES: dict[str, Callable[..., nn.Module]] = {"plain": PlainCnn, "resnet18": ResNet18}


PARTS = ("backbone", "temporal", "classifier")


def named_parts(network: SequenceNetwork) -> dict[str, nn.Module]:
    """The parts of a network by name: `backbone`, `temporal`, `temporal.0`, ..., `classifier`.

    A joint one has `backbone.spatial`, `backbone.motion`, `temporal.spatial`, ... instead of
    `temporal.0`. Larger parts come before those that they contain.
    """
    if isinstance(network, JointSequenceNetwork):
        below = [f"{part}.{key}" for part in PARTS for key in TWO_STREAMS]
    else:
        below = [f"temporal.stages.{number}" for number in range(len(network.temporal.stages))]  # type: ignore
    names = sorted([*PARTS, *below], key=lambda name: PARTS.index(name.partition(".")[0]))
    return {name.replace(".stages", ""): network.get_submodule(name) for name in names}


def find_part(network: SequenceNetwork, name: str) -> nn.Module:
    """The part of that name; an `InputError` tells those that there are."""
    parts = named_parts(network)
    if name not in parts:
        raise InputError(f"the network has no part {name!r}; it has {', '.join(parts)}")
    return parts[name]


def find_weights(source: Path) -> Path:
    """The file of weights of a run folder, of a checkpoint folder, or the file itself."""
    candidates = (source / "best" / WEIGHTS, source / WEIGHTS, source)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise InputError(f"{source}: neither a run folder nor a file of weights")
    return path


def load_parts(network: SequenceNetwork, source: Path, parts: Sequence[str]) -> None:
    """Load parts from a run folder, a checkpoint folder, or a file of weights.

    Args:
        parts: `backbone`, or `temporal.2=temporal.1`: the part here = the part in `source`.

    Raises:
        InputError: no such file or part, or the weights do not fit.
    """
    path = find_weights(source)
    weights = read_weights(path)
    for text in parts:
        name, _, other_name = text.partition("=")
        part, other_name = find_part(network, name), other_name or name
        prefix = re.sub(r"^temporal\.(?=\d)", "temporal.stages.", other_name) + "."
        tensors = {
            key.removeprefix(prefix): tensor
            for key, tensor in weights.items()
            if key.startswith(prefix)
        }
        try:
            part.load_state_dict(tensors)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"{path}: its {other_name} does not fit: {reason}") from error


def freeze(network: SequenceNetwork, parts: Sequence[str]) -> None:
    """Freeze parts, their batch statistics too; call it after each `train()`."""
    for name in parts:
        find_part(network, name).requires_grad_(False).eval()


def rate_groups(
    network: SequenceNetwork, *, lr: float, part_lr: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser, one for each learning rate.

    A part inside another one (`temporal.0` in `temporal`) keeps its own rate.
    """
    rates = {id(parameter): lr for parameter in network.parameters()}
    for name in sorted(part_lr):  # the larger part comes first
        for parameter in find_part(network, name).parameters():
            rates[id(parameter)] = part_lr[name]
    return [
        {
            "lr": rate,
            "params": [p for p in network.parameters() if p.requires_grad and rates[id(p)] == rate],
        }
        for rate in sorted(set(rates.values()))
    ]


def read_rates(texts: Sequence[str]) -> dict[str, float]:
    """`["backbone=1e-5"]` -> `{"backbone": 1e-05}`; rates are above 0."""
    rates = {}
    for text in texts:
        part, _, rate = text.partition("=")
        try:
            rates[part] = float(rate)
        except ValueError:
            rates[part] = 0.0
        if rates[part] <= 0:
            raise InputError(f"{text!r}: expected a part and its learning rate, as backbone=1e-5")
    return rates
