"""A sequence network: frames -> features -> temporal modules -> log-probabilities for CTC."""

from __future__ import annotations

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
from twostream.models.joining import JOINS, Join
from twostream.models.temporal.frame_selection import valid_mask, zero_padding
from twostream.models.temporal.stages import build_stages, read_stage
from twostream.models.two_streams import TwoStreams
from twostream.sequence.options import SIMILARITIES
from twostream.transforms.presets import MODALITIES, Modality, joint
from twostream_base import plugins
from twostream_base.errors import InputError


class SequenceNetwork(nn.Module):
    """Padded clips in, log-probabilities of the blank and all glosses for each time step out.

    Padding frames never enter the backbone, so they change no batch statistic.

    Args:
        backbone: (N, C, H, W) -> (N, D), with `out_features` D.
        temporal: (N, T, D) and lengths -> (N, T', D') and lengths, with `out_features` D'.
        classes: of the output, the blank included.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, temporal: nn.Module, *, classes: int, modality: Modality
    ) -> None:
        super().__init__()
        self.backbone, self.temporal = backbone, temporal
        features: int = temporal.out_features  # type: ignore[assignment]
        self.classifier = nn.Linear(features, classes)
        for name, values in (("mean", modality.mean), ("std", modality.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, clips: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 (N, T, C, H, W) and int64 (N,) -> float32 (N, T', classes) and int64 (N,)."""
        features, lengths = self.temporal(self.frame_features(clips, lengths), lengths)
        return classify(self.classifier, features), lengths

    def frame_features(self, clips: Tensor, lengths: Tensor) -> Tensor:
        """Features of each frame, (N, T, D); those of padding are 0."""
        valid = valid_mask(lengths, clips.shape[1])
        frames = (clips[valid].to(self.mean.dtype) - self.mean) / self.std
        frame_features = self.backbone(frames.contiguous(memory_format=torch.channels_last))
        features = frame_features.new_zeros(*valid.shape, frame_features.shape[1])
        return features.masked_scatter(valid[:, :, None], frame_features)


def classify(classifier: nn.Module, features: Tensor) -> Tensor:
    """Log-probabilities, float32 under autocast too."""
    logits: Tensor = classifier(features)
    return logits.float().log_softmax(dim=2)


class StreamHead(nn.Module):
    """What one stream of a joint network says by itself: temporal modules, and a classifier."""

    def __init__(self, temporal: nn.Module, *, classes: int) -> None:
        super().__init__()
        self.temporal = temporal
        self.classifier = nn.Linear(temporal.out_features, classes)  # type: ignore[arg-type]


class JointSequenceNetwork(SequenceNetwork):
    """RGB and flow in one network, whose features are joined at each frame.

    Each stream has a head of its own besides, which guides its backbone in training: Chen et al.,
    "Two-Stream Network for Sign Language Recognition and Translation", NeurIPS 2022, section 3.2.
    Where dynamic framing comes first, its frames are chosen once, for all three heads.

    Args:
        backbone: of both streams, to their features side by side.
        join: RGB maps (N, D1, T, 1), flow maps (N, D2, T, 1) -> (N, D, T, 1), for `temporal`.
        streams: heads of RGB and of flow.
        similarity: the features that choose the frames, one of SIMILARITIES.
    """

    def __init__(
        self,
        backbone: nn.Module,
        temporal: nn.Module,
        *,
        join: Join,
        streams: Mapping[str, StreamHead],
        similarity: str,
        classes: int,
        modality: Modality,
    ) -> None:
        super().__init__(backbone, temporal, classes=classes, modality=modality)
        self.join, self.similarity = join, similarity
        self.streams = nn.ModuleDict(streams)

    def forward(self, clips: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 (N, T, 5, H, W), RGB and u, v -> as `SequenceNetwork`, of both streams."""
        return self.heads(clips, lengths, streams=False)[0]

    def heads(
        self, clips: Tensor, lengths: Tensor, *, streams: bool = True
    ) -> list[tuple[Tensor, Tensor]]:
        """As `forward`: of both streams, and with `streams` of RGB alone and of flow alone too."""
        both = self.frame_features(clips, lengths)
        rgb, flow = both.chunk(2, dim=2)
        maps = (part.transpose(1, 2)[..., None] for part in (rgb, flow))
        joined = zero_padding(self.join(*maps)[..., 0].transpose(1, 2), lengths)
        keys = {"joined": joined, "spatial": rgb, "motion": flow}[self.similarity]
        snippets = self.temporal.select(keys, lengths)  # type: ignore[operator]
        heads = [(self, joined)]
        if streams:
            heads += zip(self.streams.values(), (rgb, flow), strict=True)  # type: ignore[arg-type]
        outputs = []
        for head, features in heads:
            encoded, steps = head.temporal(features, lengths, snippets)
            outputs.append((classify(head.classifier, encoded), steps))
        return outputs


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
        stream: `joint` has two such backbones, and three such chains of temporal modules.
        fuse, similarity: of a joint network; a name in JOINS, and one of SIMILARITIES.

    Raises:
        InputError: an unknown name or option.
    """
    if similarity not in SIMILARITIES:
        raise InputError(f"similarity {similarity!r}: expected one of {', '.join(SIMILARITIES)}")
    modality = sequence_modality(stream)
    name, options = read_stage(backbone)
    build = plugins.load(name, FRAME_BACKBONES)
    plugins.check_options(build, options, what=f"backbone {name}", positional=1)
    networks = [build(part.channels, **options) for part in modality.parts or (modality,)]
    features = networks[0].out_features
    if len(networks) == 1:
        stages = build_stages(temporal, in_features=features)
        return SequenceNetwork(networks[0], stages, classes=classes, modality=modality)
    join = plugins.load(fuse, JOINS)((features, features), 2)
    with torch.no_grad():
        joined = join(*torch.zeros(2, 1, features, 1, 1)).shape[1]
    return JointSequenceNetwork(
        TwoStreams(*networks, modality, is_3d=False),
        build_stages(temporal, in_features=joined),
        join=join,
        streams={
            part: StreamHead(build_stages(temporal, in_features=features), classes=classes)
            for part in TWO_STREAMS
        },
        similarity=similarity,
        classes=classes,
        modality=modality,
    )


def sequence_modality(stream: str) -> Modality:
    """What a sequence network sees at each frame: RGB, the flow that begins there, or both."""
    if stream != "joint":
        return MODALITIES[stream]
    return joint(MODALITIES["spatial"], replace(MODALITIES["motion"], snippet_length=1))


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


def named_parts(network: SequenceNetwork) -> dict[str, nn.Module]:
    """The parts of a network by name: `backbone`, `temporal`, `temporal.0`, ..., `classifier`.

    A joint one has `backbone.spatial`, `backbone.motion`, `streams.spatial`, ... too. Larger parts
    come before those that they contain.
    """
    stages: Sequence[nn.Module] = list(network.temporal.stages)  # type: ignore[arg-type]
    streams = TWO_STREAMS if isinstance(network, JointSequenceNetwork) else ()
    below = [f"backbone.{stream}" for stream in streams]
    heads = ("", ".temporal", ".classifier")
    below += [f"streams.{stream}{part}" for stream in streams for part in heads]
    return {
        "backbone": network.backbone,
        "temporal": network.temporal,
        **{f"temporal.{number}": stage for number, stage in enumerate(stages)},
        "classifier": network.classifier,
        **{name: network.get_submodule(name) for name in below},
    }


def find_part(network: SequenceNetwork, name: str) -> nn.Module:
    """The part of that name.

    Raises:
        InputError: there is none.
    """
    parts = named_parts(network)
    if name not in parts:
        raise InputError(f"the network has no part {name!r}; it has {', '.join(parts)}")
    return parts[name]


def find_weights(source: Path) -> Path:
    """The file of weights of a run folder, of a checkpoint folder, or the file itself.

    Raises:
        InputError: it is none of these.
    """
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
        prefix = other_name.replace("temporal.", "temporal.stages.") + "."
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
    """`["backbone=1e-5"]` -> `{"backbone": 1e-05}`.

    Raises:
        InputError: not `part=rate` with a positive rate.
    """
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
