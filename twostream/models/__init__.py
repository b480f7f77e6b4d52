"""The networks by name. Building one is late: this file imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from twostream import plugins
from twostream.errors import InputError
from twostream.models.consensus import Consensus, Learned
from twostream.transforms.presets import MODALITIES

if TYPE_CHECKING:
    from torch import nn

    from twostream.models.segment_network import SegmentNetwork
    from twostream.transforms.presets import Modality


def _network(build_backbone: Callable[..., Any], name: str, **fixed: Any) -> Callable[..., Any]:
    """An entry of MODELS: a backbone on the network `name` of torchvision, and a classifier."""

    def build(
        *, modality: Modality, num_classes: int, weights: str = "none", **options: Any
    ) -> nn.Module:
        from torch import nn

        from twostream.models.initial_weights import PRETRAINED, initial_weights
        from twostream.models.segment_network import SegmentNetwork

        state = dict(initial_weights(weights, model=name))
        normalisation = {key: state.pop(key) for key in [*state] if key in ("mean", "std")}
        backbone, feature_size = build_backbone(
            name,
            modality=modality,
            state=state,
            source=f"the weights {weights} of {name}" if weights in PRETRAINED else weights,
            **fixed,
            **options,
        )
        classifier = nn.Linear(feature_size, num_classes)
        volumes = build_backbone is not _of_images
        network = SegmentNetwork(backbone, classifier, modality, volumes=volumes)
        network.take_normalisation(normalisation)
        return network

    return build


def _of_images(name: str, *, modality: Modality, **given: Any) -> tuple[nn.Module, int]:
    """2D networks: the frames of a snippet are stacked as channels."""
    from twostream.models.backbones import build_backbone

    return build_backbone(name, in_channels=modality.channels * modality.network_length, **given)


def _of_clips(name: str, *, modality: Modality, **given: Any) -> tuple[nn.Module, int]:
    """Networks of clips: the frames of a snippet follow one another in time."""
    from twostream.models.backbones import build_backbone

    return build_backbone(name, in_channels=modality.channels, **given)


def _tsm(name: str, *, modality: Modality, **given: Any) -> tuple[nn.Module, int]:
    from twostream.models.clip_backbones import build_tsm

    frames = modality.network_length
    return build_tsm(name, in_channels=modality.channels, num_frames=frames, **given)


def _i3d(name: str, *, modality: Modality, **given: Any) -> tuple[nn.Module, int]:
    from twostream.models.clip_backbones import build_i3d

    frames = modality.network_length
    return build_i3d(name, in_channels=modality.channels, num_frames=frames, **given)


MASK = 1.5 / 7  # half a window's side, relative to the map's: LeReNet's

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
# All networks of torchvision that classify pictures, but for the three that have no linear
# classifier, or more than one output. Its documentation says where each comes from.
IMAGE_NETWORKS = (
    *RESNETS,
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    *("wide_resnet50_2", "wide_resnet101_2", "alexnet", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn"),
    *("vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
    *("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"),
    *(f"shufflenet_v2_x{size}" for size in ("0_5", "1_0", "1_5", "2_0")),
    *(f"efficientnet_{size}" for size in ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7")),
    *("efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l"),
    *(f"regnet_x_{size}" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")),
    *(f"regnet_y_{size}" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")),
    "regnet_y_128gf",
    *("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
    *("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14", "maxvit_t"),
    *("swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b"),
)
VIDEO_NETWORKS = (
    *("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s"),
    *("swin3d_t", "swin3d_s", "swin3d_b"),
)

MODELS: dict[str, Callable[..., nn.Module]] = {
    **{name: _network(_of_images, name) for name in IMAGE_NETWORKS},
    **{f"tsm-{name}": _network(_tsm, name) for name in (*RESNETS, "mobilenet_v2")},
    **{f"i3d-{name}": _network(_i3d, name) for name in RESNETS},
    **{f"nonlocal-i3d-{name}": _network(_i3d, name, non_local=True) for name in RESNETS},
    **{
        f"mask-nonlocal-i3d-{name}": _network(_i3d, name, non_local=True, window=MASK)
        for name in RESNETS
    },
    **{name: _network(_of_clips, name) for name in VIDEO_NETWORKS},
}

# Frames of a snippet, and the step between them; a step of 0 spreads them over the whole video.
# Networks that are not named look at 1 RGB frame, or at a stack of 10 flow pairs.
CLIPS: dict[str, tuple[int, int]] = {
    **dict.fromkeys((name for name in MODELS if name.startswith("tsm-")), (8, 0)),
    **dict.fromkeys((name for name in MODELS if "i3d-" in name), (32, 2)),
    **dict.fromkeys(VIDEO_NETWORKS, (16, 2)),
    **dict.fromkeys((name for name in VIDEO_NETWORKS if name.startswith("swin3d")), (32, 2)),
}


def default_clip(model: str, stream: str) -> dict[str, int]:
    """Frames of a snippet and the step between them, where the user names none."""
    length, interval = CLIPS.get(model, (MODALITIES[stream].snippet_length, 1))
    return {"clip_length": length, "frame_interval": interval}


def build_network(
    model: str,
    *,
    consensus: Consensus,
    modality: Modality,
    num_classes: int,
    weights: str = "none",
    options: Mapping[str, Any] = MappingProxyType({}),
) -> SegmentNetwork:
    """Build the network `model` of MODELS, or `module:function`; a learned consensus is its head.

    Args:
        options: of that network, such as `place` of TSM or `last_stride` of I3D.

    Raises:
        InputError: the weights cannot be had, an option is unknown, or the network has no features
            and classifier.
    """
    build = plugins.load(model, MODELS)
    try:
        network: SegmentNetwork = build(
            modality=modality, num_classes=num_classes, weights=weights, **options
        )
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InputError(f"network {model} cannot take {dict(options)}: {error}") from error
    lacking = [part for part in ("features", "classifier") if not hasattr(network, part)]
    if lacking:
        raise InputError(
            f"network {model} has no `{lacking[0]}`: it must give `features` (N, S, D) of clips, "
            "and its `classifier` makes logits (N, S, classes) of them; see SegmentNetwork"
        )
    if isinstance(consensus, Learned):
        network.classifier = consensus.build(
            feature_size=network.feature_size, num_classes=num_classes
        )
    return network
