"""Checkpoints of other tools: their layer names, channel order and normalisation in ours.

Supported are ResNets of torchvision, of jeffreyyihuang/two-stream-action-recognition (and its
forks), and of yjxiong/tsn-pytorch. Their flow pictures put -20..20 pixels on 0..255: a value of
theirs is 127.5 + 6.375 f for a flow f, where ours is x = 128 + 6.35 f, so theirs / 255 is exactly
(x - 1) / 254. Each normalisation below is thus exact; it becomes `mean` and `std` of the network.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.serialization import safe_globals

from twostream.data.splits import Split
from twostream.data.training_videos import VIDEOS, RunVideo, card_of, write_videos
from twostream.models.checkpoint import NetworkSpec, network_from_spec, save_checkpoint
from twostream.models.initial_weights import fit
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError

RGB = (MODALITIES["spatial"].mean, MODALITIES["spatial"].std)
PAIRS = MODALITIES["motion"].snippet_length
# Format -> stream -> mean and std of stored values, one a channel.
NORMALISATION: dict[str, dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "torchvision": {"spatial": RGB},
    "two-stream": {"spatial": RGB, "motion": ((1.0, 1.0), (254.0, 254.0))},
    # (theirs / 255 - 0.5) / mean(0.229, 0.224, 0.225)
    "tsn-pytorch": {"spatial": RGB, "motion": ((128.0, 128.0), (57.404, 57.404))},
}
RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}


@dataclass(frozen=True, slots=True)
class ExternalCheckpoint:
    """A network of another tool, for our `SegmentNetwork`.

    Attributes:
        format, model, stream: where it comes from and what it is.
        layers: in torchvision's names, the classifier as `fc`; flow channels in the order
            u1 v1 u2 v2 ..., ten pairs.
        mean, std: of stored values, one a channel of the modality.
        epoch: from 0; -1 where the file does not say.
        pairs: flow pairs that it looks at, the first of the ten; 0 for RGB.
    """

    format: str
    model: str
    stream: str
    layers: Mapping[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    epoch: int
    pairs: int

    @property
    def num_classes(self) -> int:
        """How many classes its classifier tells apart."""
        return int(self.layers["fc.weight"].shape[0])


def read_external(path: Path, *, rotated: bool = True) -> ExternalCheckpoint:
    """Read a checkpoint without running code from it, and recognise what it is.

    Args:
        rotated: two-stream's motion loader put the first flow pair of a stack last (its
            `flow[2*(j-1)]` with j from 0); weights that were trained so are turned back.

    Raises:
        InputError: the file cannot be read safely, or is a network that we do not have.
    """
    checkpoint = _load(path)
    state = checkpoint.get("state_dict", checkpoint)
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise InputError(f"{path}: expected a state dict, or a dict with a `state_dict` in it")
    kind, layers = _torchvision_names(path, state)
    first = layers["conv1.weight"]
    channels = first.shape[1]
    stream = "spatial" if channels == 3 else "motion"
    if stream == "motion" and (channels % 2 or channels > 2 * PAIRS):
        raise InputError(
            f"{path}: its first layer sees {channels} channels; RGB has 3, flow 2 to {2 * PAIRS}, "
            "two a pair (RGB differences are not supported)"
        )
    if stream not in NORMALISATION[kind]:
        raise InputError(
            f"{path}: a {stream} network in torchvision's own names does not tell how its input "
            "was scaled; known are two-stream (conv1_custom) and tsn-pytorch (base_model.conv1)"
        )
    if stream == "motion":
        turned = first.roll(2, dims=1) if kind == "two-stream" and rotated else first
        # Weights for a shorter stack see the first pairs of ours; those of the others are zero.
        padded = first.new_zeros(first.shape[0], 2 * PAIRS, *first.shape[2:])
        padded[:, :channels] = turned
        layers["conv1.weight"] = padded
    blocks = tuple(
        sum(f"layer{stage}.{block}.conv1.weight" in layers for block in range(64))
        for stage in range(1, 5)
    )
    model = RESNETS.get((blocks, "layer1.0.conv3.weight" in layers))
    if model is None:
        raise InputError(
            f"{path}: a ResNet of {blocks} blocks; known: {', '.join(RESNETS.values())}"
        )
    mean, std = NORMALISATION[kind][stream]
    epoch = checkpoint.get("epoch")
    epoch = int(epoch) if isinstance(epoch, int | float | np.integer) else -1
    return ExternalCheckpoint(
        format=kind,
        model=model,
        stream=stream,
        layers=layers,
        mean=mean,
        std=std,
        epoch=epoch - 1 if kind == "tsn-pytorch" and epoch > 0 else epoch,
        pairs=channels // 2 if stream == "motion" else 0,
    )


def write_imported(
    folder: Path,
    external: ExternalCheckpoint,
    *,
    class_names: tuple[str, ...],
    source: str,
    trained_on: Split | None = None,
    lists: tuple[str, int | None] = ("", None),
) -> None:
    """Write the checkpoint `folder`, from which `score` and `train --weights` can start.

    Args:
        trained_on: the split on which it was trained; None where that is not known.
        lists: name of its data set, and number of the split.

    Raises:
        InputError: another number of classes, or layers that do not fit.
    """
    if len(class_names) != external.num_classes:
        raise InputError(
            f"{source} tells {external.num_classes} classes apart, the data set has "
            f"{len(class_names)}; without --dataset its classes are numbered, and "
            "train --weights can start from it"
        )
    # Both tools keep the epoch that is best on the test list.
    selected_on = "unknown" if external.format == "torchvision" else "test"
    videos = []
    if trained_on:
        videos = [
            RunVideo(record.name, trained_on.class_names[record.label], record.group, part)
            for part in ("train", "test")
            for record in trained_on.subset(part)
        ]
    card = card_of(videos, dataset=lists[0], split=lists[1], selected_on=selected_on, initial={})
    spec = NetworkSpec(
        model=external.model,
        model_options={},
        stream=external.stream,
        clip_length=MODALITIES[external.stream].snippet_length,
        frame_interval=1,
        resize=(),
        class_names=class_names,
        num_segments=3,
        consensus="mean",
        consensus_options={},
        input_size=224,
        epoch=external.epoch,
        selected_on=selected_on,
        flow={"bound": 20.0} if external.stream == "motion" else {},
        training_videos=card if videos else {},
    )
    network = network_from_spec(spec)
    layers = dict(external.layers)
    classifier = {key: layers.pop(f"fc.{key}") for key in ("weight", "bias")}
    network.classifier.load_state_dict(classifier)
    fit(network.backbone, layers, source=source)
    repeats = network.mean.shape[0] // len(external.mean)
    network.take_normalisation(
        {
            key: torch.tensor(values).repeat(repeats)[:, None, None]
            for key, values in (("mean", external.mean), ("std", external.std))
        }
    )
    save_checkpoint(folder, network, spec, {"imported": {"format": external.format}})
    if videos:
        write_videos(folder.parent / VIDEOS, videos)


def _load(path: Path) -> Mapping[str, Any]:
    """Tensors, plain values and numpy numbers, which some checkpoints keep their accuracy in."""
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype]
    allowed += [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
    try:
        with safe_globals([*allowed, codecs.encode]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # noise can make a reader stumble anywhere
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: cannot be read safely ({reason}). Where it was made, keep the weights alone: "
            "torch.save(checkpoint['state_dict'], 'weights.pth')"
        ) from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a state dict")
    return content


def _torchvision_names(path: Path, state: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if "conv1_custom.weight" in plain:
        kind, layers = "two-stream", {n.replace("_custom.", "."): t for n, t in plain.items()}
    elif any(name.startswith("base_model.") for name in plain):
        inner = {name.removeprefix("base_model."): tensor for name, tensor in plain.items()}
        kind, layers = "tsn-pytorch", {n.replace("new_fc.", "fc."): t for n, t in inner.items()}
    else:
        kind, layers = "torchvision", plain
    if not {"conv1.weight", "layer1.0.conv1.weight", "fc.weight", "fc.bias"} <= set(layers):
        raise InputError(
            f"{path}: not a ResNet of torchvision, two-stream or tsn-pytorch; BN-Inception and "
            "Inception-v3 are not among our networks, and see other pixels (BGR, 0 to 255)"
        )
    return kind, layers
