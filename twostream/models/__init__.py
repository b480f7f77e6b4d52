"""The networks by name. Building one is late: this file imports no torch."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from twostream.data.protocols import KINDS, OF_THE_NETWORK, SPREAD, find_protocol
from twostream.models.consensus import Consensus, Learned, load_consensus, mean
from twostream.models.timm_networks import TIMM, timm_input_size
from twostream.transforms.presets import MODALITIES, Modality, modality_of
from twostream_base import plugins
from twostream_base.errors import InputError

if TYPE_CHECKING:
    from twostream.models.external_checkpoints import ExternalCheckpoint
    from twostream.models.segment_network import SegmentNetwork

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
MASK = 1.5 / 7  # half a window's side, relative to the map's: LeReNet's


@dataclass(frozen=True)
class Architecture:
    """An entry of MODELS; called, it builds the network.

    Attributes:
        family: what it is called in lists.
        base: the network whose weights it can start from: of torchvision, or `timm:NAME`.
        clip: frames of a snippet, and the step between them; a step of 0 spreads them over the
            whole video. The network sees them one after another in time. None: it looks at
            pictures; the frames of a snippet (1 RGB frame, 10 flow pairs) are stacked as channels.
        conversion: what is built: `tsm` and `i3d` make a network of clips of the base,
            `inception-i3d`, `bn-inception` and `timm` are networks of their own; empty for the
            base as it is.
        options: of the conversion.
        input_size: side of the square input that it was published with, pixels.
    """

    family: str
    base: str
    clip: tuple[int, int] | None = None
    conversion: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    input_size: int = 224

    @property
    def _build(self) -> Callable[..., Any]:
        from twostream.models import backbones

        conversions: dict[str, Callable[..., Any]] = {
            "tsm": backbones.build_tsm,
            "i3d": backbones.build_i3d,
            "inception-i3d": backbones.build_inception_i3d,
            "bn-inception": backbones.build_bn_inception,
            "timm": backbones.build_timm,
        }
        return conversions.get(self.conversion, backbones.build_backbone)

    def resolved(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options, those not given at their defaults: what a network is rebuilt with."""
        parameters = inspect.signature(self._build).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        return {**defaults, **self.options, **options}

    def __call__(
        self, *, modality: Modality, num_classes: int, weights: str = "none", **options: Any
    ) -> SegmentNetwork:
        """Build the network for snippets of `modality`; see `build_network`."""
        import torch
        from torch import nn

        from twostream.models.initial_weights import initial_weights
        from twostream.models.segment_network import SegmentNetwork

        start = initial_weights(weights, model=self.base)
        if start.checkpoint:
            self._check(start.checkpoint, weights, modality)
        fixed: dict[str, Any] = {
            "in_channels": modality.channels
            * (modality.stack if self.clip else modality.network_length),
            "state": start.layers,
            "source": start.source,
        }
        build = self._build
        what = f"network {self.base}"
        if self.conversion in ("tsm", "i3d"):
            fixed["num_frames"] = modality.network_length // modality.stack
            what = f"network {self.conversion}-{self.base}"
        plugins.check_options(build, options, what=what, positional=1, reserved=fixed)
        backbone, size = build(self.base, **fixed, **{**self.options, **options})
        classifier = nn.Linear(size, num_classes)
        if start.head and start.head["weight"].shape == classifier.weight.shape:
            classifier.load_state_dict({"bias": torch.zeros(num_classes), **start.head})
        network = SegmentNetwork(backbone, classifier, modality, is_3d=self.clip is not None)
        network.take_normalisation(start.normalisation_for(modality))
        return network

    def _check(self, checkpoint: ExternalCheckpoint, weights: str, modality: Modality) -> None:
        """Refuse a checkpoint of another network, stream or stack of flow fields."""
        other = MODELS[checkpoint.model]
        assert isinstance(other, Architecture)
        if other.base != self.base or other.conversion not in ("", self.conversion):
            raise InputError(
                f"{weights} holds a {checkpoint.model}, for the {checkpoint.stream} stream; give "
                f"--model {checkpoint.model}"
            )
        if checkpoint.stream == "motion" and modality.name != "flow":
            raise InputError(
                f"{weights} holds a network of optical flow; give --stream motion, or weights of "
                "an RGB network"
            )
        if checkpoint.stream == "motion" and self.clip and checkpoint.stack != modality.stack:
            raise InputError(
                f"{weights} sees {checkpoint.stack} flow pairs at each time step, not "
                f"{modality.stack}; give --flow-stack {checkpoint.stack}"
            )
        stacked = checkpoint.stream == "motion" and not self.clip
        if stacked and checkpoint.clip_length != modality.network_length:
            raise InputError(
                f"{weights} looks at {checkpoint.clip_length} flow fields at once, not "
                f"{modality.network_length}; give --clip-length {checkpoint.clip_length}"
            )


EFFICIENTNETS = ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "v2_s", "v2_m", "v2_l")
REGNETS = {
    "x": ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf"),
    "y": ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf", "128gf"),
}
# All networks of torchvision that classify pictures, but for the three that have no linear
# classifier, or more than one output. Its documentation says where each comes from.
IMAGE_FAMILIES = {
    "ResNet": RESNETS,
    "ResNeXt": ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    "Wide ResNet": ("wide_resnet50_2", "wide_resnet101_2"),
    "AlexNet": ("alexnet",),
    "VGG": tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    "DenseNet": ("densenet121", "densenet161", "densenet169", "densenet201"),
    "MobileNet": ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
    "MNASNet": ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"),
    "ShuffleNet V2": tuple(f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0")),
    "EfficientNet": tuple(f"efficientnet_{size}" for size in EFFICIENTNETS),
    "RegNet": tuple(f"regnet_{kind}_{size}" for kind in "xy" for size in REGNETS[kind]),
    "ConvNeXt": ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
    "Vision Transformer": ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"),
    "MaxViT": ("maxvit_t",),
    "Swin Transformer": ("swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b"),
}
# The same of videos, with the snippet and the input size that their weights were trained with.
VIDEO_FAMILIES: dict[str, tuple[tuple[int, int], int, tuple[str, ...]]] = {
    "3D ResNet": ((16, 2), 112, ("r3d_18", "mc3_18")),
    "R(2+1)D": ((16, 2), 112, ("r2plus1d_18",)),
    "S3D": ((16, 2), 224, ("s3d",)),
    "MViT": ((16, 4), 224, ("mvit_v1_b", "mvit_v2_s")),
    "Video Swin Transformer": ((32, 2), 224, ("swin3d_t", "swin3d_s", "swin3d_b")),
}

# ResNets inflated to 3D: the prefix of their names -> their family and options of `build_i3d`.
INFLATED: dict[str, tuple[str, dict[str, Any]]] = {
    "i3d": ("I3D", {}),
    "nonlocal-i3d": ("Non-local I3D", {"non_local": True}),
    "mask-nonlocal-i3d": ("Masked non-local I3D", {"non_local": True, "window": MASK}),
}


def _all_models() -> dict[str, Callable[..., SegmentNetwork]]:
    models: dict[str, Callable[..., SegmentNetwork]] = {}
    for family, names in IMAGE_FAMILIES.items():
        for name in names:
            models[name] = Architecture(family, name)
    models["bn-inception"] = Architecture("BN-Inception", "bn-inception", conversion="bn-inception")
    for name in (*RESNETS, "mobilenet_v2"):
        models[f"tsm-{name}"] = Architecture("TSM (temporal shift)", name, (8, 0), "tsm")
    for prefix, (family, options) in INFLATED.items():
        for name in RESNETS:
            models[f"{prefix}-{name}"] = Architecture(family, name, (32, 2), "i3d", options)
    models["inception-i3d"] = Architecture("Inception-I3D", "googlenet", (64, 1), "inception-i3d")
    for family, (clip, side, names) in VIDEO_FAMILIES.items():
        for name in names:
            models[name] = Architecture(family, name, clip, input_size=side)
    return models


MODELS = _all_models()


TWO_STREAMS = ("spatial", "motion")  # what a joint network is made of
# Keys of `two_streams.FUSION_POINTS` and of the dicts in it, for `--help`: that file imports torch.
POINTS = ("layer1", "layer2", "layer3", "layer4", "features")
FORMS = ("sum", "max", "concat", "conv", "gated", "bilinear", "attention")
JOINING = ("fuse_at", "fuse", "keep_both", "motion_model")  # its options; the rest is of the two


def find_network(name: Any) -> Callable[..., SegmentNetwork]:
    """What builds the network `name`: an entry of MODELS, `timm:NAME`, or a plug-in.

    Raises:
        InputError: see `plugins.load`.
    """
    if isinstance(name, str) and name.startswith(TIMM):
        return Architecture("timm", str(name), conversion="timm")
    build: Callable[..., SegmentNetwork] = plugins.load(name, MODELS)
    return build


def checkpoint_formats(model: str, stream: str) -> list[str]:
    """Formats of other tools whose checkpoints fill a network, its classifier included.

    Keys of `external_checkpoints.CHECKPOINT_FORMATS`, in its order; `tsm` is that of the TSM
    repository.
    """
    entry = MODELS.get(model)
    if not isinstance(entry, Architecture) or stream == "difference":
        return []
    family = entry.conversion, entry.family
    is_resnet = entry.family in ("ResNet", "ResNeXt", "Wide ResNet")
    formats: list[str] = {
        ("inception-i3d", "Inception-I3D"): ["pytorch-i3d"],
        ("bn-inception", "BN-Inception"): ["tsn-pytorch"],
        ("tsm", "TSM (temporal shift)"): ["mmaction2", "tsm"],
        ("i3d", "I3D"): ["mmaction2", "slowfast", "caffe2", "pytorchvideo"],
        ("i3d", "Non-local I3D"): ["mmaction2", "slowfast", "caffe2"],
    }.get(family, [])
    if not entry.conversion:
        formats = ["mmaction2", "tsn-pytorch"] if is_resnet or model == "mobilenet_v2" else []
        formats += ["two-stream"] if entry.family == "ResNet" else []
        formats += ["torchvision"]
    without_flow = ("slowfast", "caffe2", "pytorchvideo", "torchvision")
    return [name for name in formats if stream != "motion" or name not in without_flow]


def list_models(*patterns: str) -> list[str]:
    """Names of MODELS that match a pattern such as `tsm*`, or contain a plain text such as `i3d`.

    Without patterns: all of them.

    Raises:
        InputError: a pattern that matches none.
    """

    def matches(name: str, pattern: str) -> bool:
        wild = any(character in pattern for character in "*?[")
        return fnmatchcase(name, pattern) if wild else pattern in name

    for pattern in patterns:
        if not any(matches(name, pattern) for name in MODELS):
            raise InputError(
                f"no network matches {pattern!r}; `twostream models` lists all {len(MODELS)}"
            )
    return [name for name in MODELS if not patterns or any(matches(name, p) for p in patterns)]


def create_model(
    name: str,
    *,
    num_classes: int,
    stream: str = "spatial",
    weights: str | os.PathLike[str] = "none",
    consensus: str = "mean",
    clip_length: int | None = None,
    frame_interval: int | None = None,
    stack: int = 1,
    trust_plugins: bool = False,
    **options: Any,
) -> SegmentNetwork:
    """Build a network: clips uint8 (N, S, T, C, H, W) to logits (N, S, num_classes).

        network = create_model("tsm-resnet50", num_classes=101, weights="imagenet")
        network.modality                          # what it sees: 8 RGB frames
        network.features(clips)                   # (N, S, D)

    Args:
        name: key of MODELS, which `list_models` lists; or `timm:NAME`.
        stream: key of MODALITIES: `spatial` (RGB), `motion` (flow), `difference`, or `joint`, two
            networks in one, whose options `fuse_at` and `fuse` say where and how they are joined.
        weights: `none`, `imagenet`, `kinetics400`, or a file, as `train --weights` takes them.
        consensus: key of CONSENSUS; one that learns replaces the classifier.
        clip_length, frame_interval: T and the step from frame to frame, where they differ from the
            network's own (0 spreads the frames over the whole video).
        stack: flow pairs at each time step of a network of clips; clip_length counts all of them.
        trust_plugins: whether `name`, `consensus` and options such as `fuse` may be
            `module:function`, which is imported.
        options: of that network, as `train --model-option` takes them.

    Raises:
        InputError: an unknown name, unknown options, or weights that cannot be had.
    """
    name, consensus, options = plugins.trust((name, consensus, options), trust_plugins)
    clip = default_clip(name, stream)
    clip_length = stack * clip["clip_length"] if clip_length is None else clip_length
    modality = modality_of(
        stream,
        clip_length=clip_length,
        frame_interval=clip["frame_interval"] if frame_interval is None else frame_interval,
        stack=max(stack, flow_stack(name, stream, clip_length)),
    )
    return build_network(
        name,
        consensus=load_consensus(consensus, {}),
        modality=modality,
        num_classes=num_classes,
        weights=os.fspath(weights),
        options=options,
    )


def resolved_options(model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a network to keep with its weights: another version may have other defaults.

    Of networks of MODELS and timm all, of a plug-in those that are given.
    """
    if "fuse_at" in options:  # two networks
        resolved = {key: options[key] for key in JOINING if key in options}
        models = (model, options.get("motion_model") or model)
        for name, stream in zip(models, TWO_STREAMS, strict=True):
            of_tower = resolved_options(name, _options_of(stream, options)).items()
            resolved |= {f"{stream}.{key}": value for key, value in of_tower}
        return resolved
    build = find_network(model)
    return build.resolved(options) if isinstance(build, Architecture) else dict(options)


def default_clip(model: str, stream: str) -> dict[str, int]:
    """Frames of a snippet and the step between them, where the user names none."""
    clip = getattr(MODELS.get(model), "clip", None)
    length, interval = clip or (MODALITIES[stream].sampling["snippet_length"], 1)
    return {"clip_length": length, "frame_interval": interval}


def flow_stack(model: str, stream: str, clip_length: int) -> int:
    """Flow pairs of a joint snippet at each of its time steps; 1 for the other streams.

    A network of pictures looks at all of them beside one RGB frame, one of clips at a pair beside
    each frame.
    """
    return 1 if sees_clips(model) or not MODALITIES[stream].parts else clip_length


def sees_clips(model: str) -> bool:
    """Whether a network of MODELS sees frames one after another in time; not known of plug-ins."""
    return getattr(MODELS.get(model), "clip", None) is not None


def network_protocol(protocol: str, *, model: str, num_segments: int, frame_interval: int) -> str:
    """What a protocol is for a network: `efficient` and `accurate` differ, as in result tables.

    | network | efficient | accurate |
    |---|---|---|
    | TSN | as many frames as training segments | 25 frames, three crops of 256 |
    | TSM over the whole video | one clip | two clips, three crops |
    | TSM, clips of neighbouring frames | 10 clips | 10 clips, three crops |
    | other networks of clips | one clip | 10 clips, three crops |

    Args:
        protocol: a text as `find_protocol` takes it; others than these two come back under the name
            that results have.

    Raises:
        InputError: no such protocol.
    """
    entry = MODELS.get(model)
    if protocol not in OF_THE_NETWORK:
        is_plugin = ":" in protocol and protocol.partition(":")[0] not in KINDS
        return protocol if is_plugin else find_protocol(protocol).name
    efficient, accurate = "dense:1", "dense:10x3"
    if frame_interval == SPREAD:
        efficient, accurate = "segments:1", "twice:3"
    elif getattr(entry, "clip", None) is None:
        efficient, accurate = f"segments:{num_segments}", "segments:25x3"
    elif getattr(entry, "conversion", "") == "tsm":
        efficient = "dense:10"
    return find_protocol(efficient if protocol == "efficient" else accurate).name


def default_input_size(model: str) -> int:
    """Side of the square input, pixels, where the user names none."""
    if model.startswith(TIMM):
        return timm_input_size(model)
    return getattr(MODELS.get(model), "input_size", 224)


def build_network(
    model: str,
    *,
    consensus: Consensus,
    modality: Modality,
    num_classes: int,
    weights: str | Sequence[str] = "none",
    options: Mapping[str, Any] = MappingProxyType({}),
) -> SegmentNetwork:
    """Build the network `model`; a learned consensus is its head.

    Args:
        model: key of MODELS, `timm:NAME`, or `module:function`.
        modality: for a joint one two such networks are built and joined, see `build_two_streams`.
        weights: as `create_model` takes them; of two networks also two.
        options: of that network, such as `place` of TSM or `last_stride` of I3D.

    Raises:
        InputError: the weights cannot be had, an option is unknown, or the network has no features
            and classifier.
    """
    build = find_network(model)
    if modality.parts:
        build = partial(build_two_streams, model)
        late = options.get("fuse_at", "features") == "features"
        if isinstance(consensus, Learned) and late and options.get("fuse", "sum") != "concat":
            raise InputError(
                "a consensus that learns takes the place of the classifiers of both streams: give "
                "--fuse concat, which leaves it their features, or join them at a layer"
            )
    fixed = ("modality", "num_classes", "weights")
    plugins.check_options(build, options, what=f"network {model}", reserved=fixed)
    try:
        network: SegmentNetwork = build(
            modality=modality, num_classes=num_classes, weights=weights, **options
        )
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InputError(f"network {model} cannot take {dict(options)}: {error}") from error
    missing = [part for part in ("features", "classifier") if not hasattr(network, part)]
    if missing:
        raise InputError(
            f"network {model} has no `{missing[0]}`: it must give `features` (N, S, D) of clips, "
            "and its `classifier` makes logits (N, S, classes) of them; see SegmentNetwork"
        )
    if isinstance(consensus, Learned):
        network.classifier = consensus.build(
            feature_size=network.feature_size, num_classes=num_classes
        )
    return network


def build_two_streams(
    model: str,
    *,
    modality: Modality,
    num_classes: int,
    weights: str | Sequence[str] = "none",
    fuse_at: str = "features",
    fuse: str = "sum",
    keep_both: bool = False,
    motion_model: str = "",
    **options: Any,
) -> SegmentNetwork:
    """Two networks `model` in one, the first of RGB, the second of flow.

    Args:
        modality: a joint one.
        weights: of both, or of each, as `create_model` takes them. A run's classifier is kept where
            it has as many classes.
        fuse_at: key of `two_streams.FUSION_POINTS`.
        fuse: key of the dict there, or a plug-in: see `twostream.models.joining`.
        keep_both: behind a layer, whether the flow network goes on beside what is joined; the mean
            of both decides.
        motion_model: of the flow network, where it is another one.
        options: of both networks; of one with `spatial.` or `motion.` before their names.

    Raises:
        InputError: as `build_network` and `two_streams.join_networks`.
    """
    from twostream.models.two_streams import join_networks, keep_classifier

    names, networks = (model, motion_model or model), []
    texts = (weights, weights) if isinstance(weights, str) else weights
    for name, stream, part, text in zip(names, TWO_STREAMS, modality.parts, texts, strict=True):
        network = build_network(
            name,
            consensus=mean,
            modality=part,
            num_classes=num_classes,
            weights=text,
            options=_options_of(stream, options),
        )
        keep_classifier(network, text)
        networks.append(network)
    spatial, motion = networks
    return join_networks(
        spatial, motion, modality, fuse_at=fuse_at, fuse=fuse, keep_both=keep_both, names=names
    )


def _options_of(stream: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of a joint network that are of one of the two in it."""
    mine = {
        k.removeprefix(f"{stream}."): v for k, v in options.items() if k.startswith(f"{stream}.")
    }
    shared = {
        key: value
        for key, value in options.items()
        if key not in JOINING and key.partition(".")[0] not in TWO_STREAMS
    }
    return shared | mine
