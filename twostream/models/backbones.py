"""Backbones by name: features instead of a classifier, for pictures or for clips.

A backbone of pictures maps (N, C, H, W) to features (N, D), one of clips (N, C, T, H, W). Any
number of input channels is possible.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from twostream.models.i3d import I3D, insert_blocks
from twostream.models.inception import (
    BN_FEATURES,
    I3D_FEATURES,
    BNInception,
    InceptionI3D,
    inflate_googlenet,
)
from twostream.models.initial_weights import fit
from twostream.models.temporal_shift import FrameAverage, shift_mobilenet, shift_resnet
from twostream.models.timm_networks import timm_network
from twostream_base.errors import InputError
from twostream_base.vision import torchvision

Conv = nn.Conv2d | nn.Conv3d
Backbone = tuple[nn.Module, int]  # and the size D of its features


def build_backbone(
    name: str, *, in_channels: int, state: Mapping[str, Tensor], source: str
) -> Backbone:
    """Build a network of torchvision by its name there, for `in_channels` inputs.

    Args:
        state: the weights to start from, in torchvision's names; none where it is empty. Those of
            RGB networks are adapted to the inputs, those of `in_channels` inputs are taken as is.
        source: what the weights are called in an error.

    Returns:
        the backbone, (N, in_channels, H, W), or (N, in_channels, T, H, W) for a video network, to
        features (N, D); and D.

    Raises:
        InputError: the weights do not fit.
    """
    network: nn.Module = torchvision.models.get_model(name, weights=None)
    if isinstance(network, torchvision.models.MNASNet):
        # As a class of its own it refuses weights without a version number, which safetensors and
        # plain dicts cannot hold. The same layers under the same names take them.
        network = nn.Sequential(
            OrderedDict(
                layers=network.layers,
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                classifier=network.classifier,
            )
        )
    # The classifier is the last linear layer; what it would see are the features.
    head, layer = [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv3d)
    ][-1]
    network.set_submodule(head, nn.Identity())
    feature_size = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels

    # The classes of its classifier are another data set's.
    layers = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
    fit_channels(network, in_channels=in_channels, state=layers, source=source)
    return network, feature_size


def fit_channels(
    network: nn.Module, *, in_channels: int, state: Mapping[str, Tensor], source: str
) -> None:
    """Load weights into a network of RGB, and turn its first convolution to `in_channels` inputs.

    Args: as `build_backbone` takes them.
    """
    first, conv = first_convolution(network)
    stored = state.get(f"{first}.weight")
    if stored is not None and stored.shape[1] == in_channels != conv.in_channels:
        network.set_submodule(first, adapt_input_channels(conv, in_channels))
    if state:
        fit(network, state, source=source)
    first, conv = first_convolution(network)
    if conv.in_channels != in_channels:
        network.set_submodule(first, adapt_input_channels(conv, in_channels))


def build_tsm(
    name: str,
    *,
    in_channels: int,
    num_frames: int,
    state: Mapping[str, Tensor],
    source: str,
    place: str = "residual",
) -> Backbone:
    """A ResNet or `mobilenet_v2` with temporal shifts.

    Args:
        place: `residual` or `in-place`, see `shift_resnet`; a MobileNet has the former alone.
    """

    def shifted(network: nn.Module) -> nn.Module:
        if name == "mobilenet_v2":
            shift_mobilenet(network, num_frames=num_frames)
        else:
            shift_resnet(network, num_frames=num_frames, place=place)
        return FrameAverage(network)

    return _converted(name, shifted, in_channels=in_channels, state=state, source=source)


def build_i3d(
    name: str,
    *,
    in_channels: int,
    num_frames: int,
    state: Mapping[str, Tensor],
    source: str,
    last_stride: int = 2,
    stem_stride: int | None = None,
    inflate_both: bool = False,
    non_local: bool = False,
    window: float | None = None,
    symmetric: bool = False,
    pool_first: bool = True,
    affinity: str = "embedded_gaussian",
    use_scale: bool = True,
) -> Backbone:
    """An inflated ResNet, with non-local blocks in res3 and res4 if wanted.

    Args:
        last_stride, stem_stride, inflate_both: see `I3D`.
        window, symmetric, pool_first, affinity, use_scale: of the non-local blocks, see
            `NonLocalBlock`.
    """

    def inflated(network: nn.Module) -> nn.Module:
        i3d = I3D(
            network,
            num_frames=num_frames,
            last_stride=last_stride,
            stem_stride=stem_stride,
            inflate_both=inflate_both,
        )
        for stage, count in ((i3d.layer2, 2), (i3d.layer3, 3)) if non_local else ():
            insert_blocks(
                stage,
                count=count,
                window=window,
                symmetric=symmetric,
                pool_first=pool_first,
                affinity=affinity,
                use_scale=use_scale,
            )
        return i3d

    return _converted(name, inflated, in_channels=in_channels, state=state, source=source)


def build_inception_i3d(
    name: str, *, in_channels: int, state: Mapping[str, Tensor], source: str
) -> Backbone:
    """Inception-I3D; `state` may be weights of `googlenet` of torchvision, which are inflated."""
    network = InceptionI3D(in_channels=3)
    if any(key.startswith("inception3a.") for key in state):  # not a module of I3D
        state = inflate_googlenet(state, network)
    fit_channels(network, in_channels=in_channels, state=state, source=source)
    return network, I3D_FEATURES


def build_bn_inception(
    name: str, *, in_channels: int, state: Mapping[str, Tensor], source: str
) -> Backbone:
    """BN-Inception, for pictures."""
    network = BNInception(in_channels=3)
    fit_channels(network, in_channels=in_channels, state=state, source=source)
    return network, BN_FEATURES


def build_timm(
    name: str, *, in_channels: int, state: Mapping[str, Tensor], source: str, **options: Any
) -> Backbone:
    """A network of timm, `timm:NAME`, pooled, without its classifier.

    Args:
        options: of `timm.create_model`, such as `drop_path_rate`.
    """
    network, classifiers, first = timm_network(name, **options)
    layers = {
        key: value
        for key, value in state.items()
        if not key.startswith(tuple(f"{layer}." for layer in classifiers))
    }
    if in_channels == 3:
        if layers:
            fit(network, layers, source=source)
    elif [first_name for first_name, _ in named_convolutions(network)][:1] != first:
        raise InputError(
            f"network {name} takes RGB frames alone: its input meets {' and '.join(first)}, and "
            "not one convolution that could be turned to other channels"
        )
    else:
        fit_channels(network, in_channels=in_channels, state=layers, source=source)
    return network, int(getattr(network, "head_hidden_size", network.num_features))


def _converted(
    name: str,
    convert: Callable[[nn.Module], nn.Module],
    *,
    in_channels: int,
    state: Mapping[str, Tensor],
    source: str,
) -> Backbone:
    """Build the 2D network, load its weights, convert it; or load weights of a converted one."""
    network, size = build_backbone(name, in_channels=in_channels, state={}, source=source)
    first, conv = first_convolution(network)
    stored = state.get(f"{first}.weight")
    if stored is not None and stored.dim() == conv.weight.dim():
        network, size = build_backbone(name, in_channels=in_channels, state=state, source=source)
        return convert(network), size
    converted = convert(network)
    if state:
        first, conv = first_convolution(converted)
        stored = state.get(f"{first}.weight")
        if stored is not None and stored.shape[1] != in_channels and stored.shape[1] == 3:
            mean = stored.mean(dim=1, keepdim=True)  # as `adapt_input_channels`
            state = {**state, f"{first}.weight": mean.expand_as(conv.weight)}
        fit(converted, state, source=source)
    return converted, size


def adapt_input_channels(conv: Conv, in_channels: int) -> Conv:
    """Return a copy of `conv` for `in_channels` inputs, each filter the mean over RGB, repeated.

    Cross-modality initialisation: Wang et al., "Temporal Segment Networks", ECCV 2016, section 3.2.
    Averaging keeps what ImageNet taught about edges and textures, which flow fields share.
    """
    adapted = deepcopy(conv)  # of whatever subclass
    adapted.in_channels = in_channels
    adapted.weight = nn.Parameter(
        conv.weight.new_empty(len(conv.weight), in_channels, *conv.kernel_size)
    )
    # Draws as a new layer would: what follows starts from the same random numbers for each seed.
    adapted.reset_parameters()
    with torch.no_grad():
        adapted.weight.copy_(conv.weight.mean(dim=1, keepdim=True).expand_as(adapted.weight))
        if conv.bias is not None and adapted.bias is not None:
            adapted.bias.copy_(conv.bias)
    return adapted


def first_convolution(network: nn.Module) -> tuple[str, Conv]:
    """Name and layer of the convolution that sees the input: the first that a network has."""
    return next(named_convolutions(network))


def named_convolutions(network: nn.Module) -> Iterator[tuple[str, Conv]]:
    """Name and layer of each convolution, in the order of the network's parts."""
    return ((name, layer) for name, layer in network.named_modules() if isinstance(layer, Conv))
