"""RGB and flow in one network: two backbones that are joined at a layer, or at their features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from twostream.models.backbones import Conv, named_convolutions
from twostream.models.initial_weights import stream_of
from twostream.models.joining import HEADS, JOINS, Head, Join
from twostream.models.segment_network import SegmentNetwork
from twostream.transforms.presets import Modality
from twostream_base import plugins
from twostream_base.errors import InputError

# Where two streams can be joined, and how: behind a stage of networks that have these four, or
# between features and classifier of any.
FUSION_POINTS: dict[str, Mapping[str, Callable[..., Any]]] = {
    "layer1": JOINS,
    "layer2": JOINS,
    "layer3": JOINS,
    "layer4": JOINS,
    "features": HEADS,
}


class TwoStreams(nn.Module):
    """The backbones of RGB and flow, joined behind a layer of each, or not at all.

    Args:
        spatial, motion: each maps its own part of the input to features (N, D).
        modality: tells the parts of the input apart.
        is_3d: whether it comes as clips (N, C, T, H, W), or as pictures (N, T*C, H, W).
        layers: name of the layer of each whose maps are joined; empty for none.
        join: RGB maps, flow maps -> what the rest of `spatial` sees.
        keep_both: whether `motion` goes on by itself too: its features follow.
    """

    def __init__(
        self,
        spatial: nn.Module,
        motion: nn.Module,
        modality: Modality,
        *,
        is_3d: bool,
        layers: Sequence[str] = (),
        join: Join | None = None,
        keep_both: bool = True,
    ) -> None:
        super().__init__()
        self.spatial, self.motion, self.join = spatial, motion, join
        self.channels = modality.channels
        self.rgb_channels = modality.parts[0].channels
        self.is_3d, self.keep_both = is_3d, keep_both
        self._maps: Tensor | None = None
        if layers:
            # Methods, not closures: those of a copy of the network then belong to the copy.
            spatial.get_submodule(layers[0]).register_forward_hook(self._join_maps)
            motion.get_submodule(layers[1]).register_forward_hook(self._keep_maps)

    def forward(self, clips: Tensor) -> Tensor:
        """All channels of both streams -> features (N, D), or of both (N, D1 + D2)."""
        if self.is_3d:
            steps, order = clips.transpose(1, 2), torch.channels_last_3d
            if not clips.is_contiguous(memory_format=order):
                order = torch.contiguous_format
        else:
            steps, order = clips.unflatten(1, (-1, self.channels)), torch.channels_last
        parts = []
        for channels in (slice(self.rgb_channels), slice(self.rgb_channels, None)):
            part = steps[:, :, channels]
            part = part.transpose(1, 2) if self.is_3d else part.flatten(1, 2)
            parts.append(part.contiguous(memory_format=order))
        flow: Tensor = self.motion(parts[1])
        rgb: Tensor = self.spatial(parts[0])
        return torch.cat([rgb, flow], dim=1) if self.keep_both else rgb

    def _keep_maps(self, layer: nn.Module, inputs: Any, maps: Tensor) -> None:
        self._maps = maps

    def _join_maps(self, layer: nn.Module, inputs: Any, maps: Tensor) -> Tensor:
        assert self.join is not None
        assert self._maps is not None
        flow, self._maps = self._maps, None
        return self.join(maps, flow)


def join_networks(
    spatial: SegmentNetwork,
    motion: SegmentNetwork,
    modality: Modality,
    *,
    fuse_at: str,
    fuse: str,
    keep_both: bool,
    names: tuple[str, str],
) -> SegmentNetwork:
    """One network of two, of RGB and of flow; it takes them apart.

    Args:
        modality: a joint one, of which theirs are the parts.
        fuse_at, fuse, keep_both: see `build_two_streams`.
        names: of both networks, for messages.

    Raises:
        InputError: there is no such point, or no such layer in a network, or their maps do not fit.
    """
    if fuse_at not in FUSION_POINTS:
        raise InputError(f"--fuse-at {fuse_at!r}: expected one of {', '.join(FUSION_POINTS)}")
    if spatial.is_3d != motion.is_3d:
        raise InputError(
            f"{names[0]} and {names[1]} cannot be joined: one looks at pictures, the other at "
            "clips; give two networks of one kind"
        )
    if spatial.is_3d and modality.parts[1].stack > 1:
        raise InputError(
            f"{names[0]} cannot be joined: it looks at clips, and of a plug-in only networks of "
            f"pictures can be the RGB stream; give a network of clips that `twostream models` lists"
        )
    classifiers = (_linear(spatial, names[0]), _linear(motion, names[1]))
    join: Join | None = None
    layers: tuple[str, ...] = ()
    if fuse_at == "features":
        head = plugins.load(fuse, HEADS)(*classifiers)
        if not hasattr(head, "in_features"):  # a plug-in may leave it out
            head.in_features = sum(classifier.in_features for classifier in classifiers)
    else:
        layers = (
            _find_layer(spatial, fuse_at, model=names[0]),
            _find_layer(motion, fuse_at, model=names[1]),
        )
        join, head = _join_layers(spatial, motion, layers, fuse=fuse, names=names)
        if keep_both:
            head = Head(head, classifiers[1])
        else:
            _cut_behind(motion.backbone, layers[1])
    backbone = TwoStreams(
        spatial.backbone,
        motion.backbone,
        modality,
        is_3d=spatial.is_3d,
        layers=layers,
        join=join,
        keep_both=keep_both or not layers,
    )
    network = SegmentNetwork(backbone, head, modality, is_3d=spatial.is_3d)
    for name in ("mean", "std"):
        values, steps = getattr(network, name), modality.snippet_length
        parts = [getattr(tower, name).view(steps, -1) for tower in (spatial, motion)]
        values.copy_(torch.cat(parts, dim=1).view_as(values))
    return network


def keep_classifier(network: SegmentNetwork, weights: str) -> None:
    """Give a network the classifier of a run's weights, where it has as many classes."""
    if not (Path(weights).is_file() and stream_of(Path(weights))):
        return
    trained = safetensors.torch.load_file(weights)
    values = {key: trained.get(f"classifier.{key}") for key in ("weight", "bias")}
    new = _linear(network, weights)
    if values["weight"] is not None and values["weight"].shape == new.weight.shape:
        new.load_state_dict(values)


def _linear(tower: SegmentNetwork, model: str) -> nn.Linear:
    if not isinstance(tower.classifier, nn.Linear):
        raise InputError(f"network {model} cannot be joined: its classifier is no nn.Linear")
    return tower.classifier


def _find_layer(tower: SegmentNetwork, at: str, *, model: str) -> str:
    """The name of a stage in a backbone: `layer3`, or `network.layer3` where it is wrapped."""
    names = [name for name, _ in tower.backbone.named_modules() if name.rpartition(".")[2] == at]
    if len(names) != 1:
        raise InputError(
            f"--fuse-at {at}: network {model} has no {at}; ResNets have layer1 to layer4, as "
            "pictures and as clips (TSM, I3D, r3d_18); --fuse-at features joins any networks"
        )
    return names[0]


def _join_layers(
    spatial: SegmentNetwork,
    motion: SegmentNetwork,
    layers: tuple[str, ...],
    *,
    fuse: str,
    names: tuple[str, str],
) -> tuple[Join, nn.Linear]:
    """What joins the maps of these layers, and the classifier of what comes of them.

    Where joining gives other channels than RGB maps have, the rest of the RGB network is widened:
    it reads the further ones with the weights by which the flow network reads its own, where there
    are as many.
    """
    rgb, flow = (
        _maps_of(tower, layer) for tower, layer in zip((spatial, motion), layers, strict=True)
    )
    if rgb.shape[2:] != flow.shape[2:]:
        raise InputError(
            f"--fuse-at {layers[0]}: the maps of {names[0]} are {tuple(rgb.shape[2:])}, of "
            f"{names[1]} {tuple(flow.shape[2:])}; give --fuse-at features"
        )
    build = plugins.load(fuse, JOINS)
    join: Join = build((rgb.shape[1], flow.shape[1]), rgb.dim() - 2)
    if isinstance(join, nn.Module):
        join.to(rgb.device)
    with torch.no_grad():
        further = join(rgb, flow).shape[1] - rgb.shape[1]
    classifier = _linear(spatial, names[0])
    if not further:
        return join, classifier
    stage, number = layers[0][:-1], int(layers[0][-1])
    if number == 4:
        wide = nn.Linear(classifier.in_features + further, classifier.out_features)
        wide = wide.to(rgb.device)
        other = _linear(motion, names[1])
        with torch.no_grad():
            if other.in_features == further:
                wide.weight.copy_(torch.cat([classifier.weight, other.weight], dim=1) / 2)
                wide.bias.copy_((classifier.bias + other.bias) / 2)
        return join, wide
    readers = [
        _readers(tower.backbone.get_submodule(f"{layer[:-1]}{number + 1}.0"))
        for tower, layer in zip((spatial, motion), layers, strict=True)
    ]
    first_block = spatial.backbone.get_submodule(f"{stage}{number + 1}.0")
    for part, (name, conv) in readers[0].items():
        other_conv = readers[1][part][1] if part in readers[1] else None
        first_block.set_submodule(name, _widened(conv, further, like=other_conv))
    return join, classifier


def _maps_of(tower: SegmentNetwork, layer: str) -> Tensor:
    """Empty maps of a layer, of the shape that a snippet of 64 x 64 pixels gives."""
    maps: list[Tensor] = []
    handle = tower.backbone.get_submodule(layer).register_forward_hook(
        lambda layer, inputs, output: maps.append(torch.zeros_like(output))
    )
    is_training, shape = tower.training, (1, 1, *tower.modality.snippet_shape(64))
    with torch.no_grad():
        tower.eval().features(torch.zeros(shape, dtype=torch.uint8, device=tower.mean.device))
    tower.train(is_training)
    handle.remove()
    return maps[0]


def _readers(block: nn.Module) -> dict[str, tuple[str, Conv]]:
    """The convolutions of a residual block that read its input: of the branch, and the shortcut."""
    readers: dict[str, tuple[str, Conv]] = {}
    for name, conv in named_convolutions(block):
        for part in ("conv1", "downsample"):
            if part in name.split("."):
                readers.setdefault(part, (name, conv))
    return readers


def _widened(conv: Conv, further: int, *, like: Conv | None) -> Conv:
    """A convolution that reads further channels: as `like` reads them, or not at all yet."""
    wide = deepcopy(conv)
    wide.in_channels += further
    new = conv.weight.new_zeros(len(conv.weight), further, *conv.kernel_size)
    if like is not None and like.weight.shape == new.shape:
        new = like.weight.detach()
    wide.weight = nn.Parameter(torch.cat([conv.weight.detach(), new], dim=1))
    return wide


def _cut_behind(backbone: nn.Module, layer: str) -> None:
    """Leave out the stages behind a layer: their weights would never learn."""
    for number in range(int(layer[-1]) + 1, 5):
        backbone.set_submodule(f"{layer[:-1]}{number}", nn.Identity())
