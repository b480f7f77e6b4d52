"""Initial weights of a network: ImageNet's, none, or those of a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from twostream.models.external_checkpoints import ExternalCheckpoint, ScaleUnknownError, recognise
from twostream.models.published import Bar, find_weights
from twostream.models.timm_networks import TIMM, timm_weights
from twostream.models.weight_files import load_safely, normalisation, unwrap
from twostream.transforms.presets import MODALITIES, Modality
from twostream_base.errors import InputError, some_of
from twostream_base.tensor_file import FileType, TensorFile
from twostream_base.vision import cached_file, fetch_weights, torchvision

BACKBONE = "backbone."
PRETRAINED = ("imagenet", "kinetics400")


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """What a network starts from.

    Attributes:
        layers: of its backbone, in torchvision's names or, of a network of the same kind, in ours.
        normalisation: `mean` and `std` of stored values, for one picture (C, 1, 1); without a
            stream for all channels of a clip (T*C, 1, 1). Empty where there are none.
        head: `weight` and `bias` of the classifier, for as many classes; empty without.
        source: what they are called in an error.
        stream: whose pictures the normalisation is for, key of MODALITIES; empty if unknown.
        checkpoint: what another tool's file was recognised as.
    """

    layers: Mapping[str, Tensor]
    normalisation: Mapping[str, Tensor]
    head: Mapping[str, Tensor]
    source: str
    stream: str = ""
    checkpoint: ExternalCheckpoint | None = None

    def normalisation_for(self, modality: Modality) -> dict[str, Tensor]:
        """The same for all channels of a clip; empty for another stream, which keeps its own."""
        if not self.stream:
            return dict(self.normalisation)
        its_own = MODALITIES[self.stream]
        is_same = its_own.name == modality.name and its_own.differences == modality.differences
        times = modality.network_length if is_same else 0
        return {key: value.repeat(times, 1, 1) for key, value in self.normalisation.items()}


def initial_weights(weights: str, *, model: str) -> StartingPoint:
    """What `--weights` names.

    Args:
        weights: `imagenet` or `kinetics400` (torchvision's own loader), `none` (gives no layers), a
            name of `PUBLISHED`, or a file: weights of a twostream run, a checkpoint in one of
            `CHECKPOINT_FORMATS`, or a state dict in the names of torchvision's `model`.
        model: the network of torchvision that is at the base.

    Raises:
        InputError: the weights cannot be had or read.
    """
    if weights == "none":
        return StartingPoint({}, {}, {}, weights)
    if weights in PRETRAINED:
        state = dict(pretrained_weights(weights, model=model))
        values = {key: state.pop(key) for key in ("mean", "std")}
        return StartingPoint(state, values, {}, f"the weights {weights} of {model}", "spatial")
    path, entry = find_weights(weights)
    content = load_safely(path)
    if {"mean", "std"} <= content.keys() and any(name.startswith(BACKBONE) for name in content):
        # The weights of a run of ours: its backbone and normalisation, without its classifier.
        layers = {n.removeprefix(BACKBONE): t for n, t in content.items() if n.startswith(BACKBONE)}
        # Of one of its pictures, where it says of what: other clips have other numbers of them.
        stream = stream_of(path)
        channels = MODALITIES[stream].channels if stream else None
        values = {key: content[key][:channels] for key in ("mean", "std")}
        return StartingPoint(layers, values, {}, weights, stream)
    try:
        if model.startswith(TIMM):  # other than torchvision's, under the same names
            return StartingPoint(unwrap(path, content), {}, {}, weights)
        checkpoint = recognise(path, content, name=entry.file if entry else "")
    except ScaleUnknownError:  # what trains on from it may scale its input as it likes
        checkpoint = None
    if checkpoint is None:
        layers = {n.removeprefix(BACKBONE): t for n, t in unwrap(path, content).items()}
        return StartingPoint(layers, {}, {}, weights)
    return StartingPoint(
        checkpoint.layers,
        normalisation(checkpoint.mean, checkpoint.std),
        checkpoint.head,
        weights,
        checkpoint.stream,
        checkpoint,
    )


def stream_of(path: Path) -> str:
    """What a run says that its network sees; empty where a file says nothing."""
    try:
        with TensorFile(path, FileType("weights file", key="twostream", cure="")) as file:
            stream = file.header.get("stream")
    except InputError:  # none of a run, or of another format
        return ""
    return stream if isinstance(stream, str) and stream in MODALITIES else ""


def recognised(weights: str, *, bar: Bar | None = None) -> ExternalCheckpoint | None:
    """The checkpoint of another tool that --weights names; None for other weights.

    Raises:
        InputError: as `initial_weights`.
    """
    if weights == "none" or weights in PRETRAINED:
        return None
    find_weights(weights, bar=bar)  # with a bar, which it needs but once
    return initial_weights(weights, model="").checkpoint


def pretrained_weights(kind: str, *, model: str) -> Mapping[str, Tensor]:
    """The first weights of a data set by torchvision's loader: its cache, or over the network.

    `mean` and `std` (3, 1, 1), of values from 0 to 255, are those that they were trained with.

    Args:
        kind: `imagenet`, or `kinetics400` for the video networks.

    Raises:
        InputError: torchvision has none, they cannot be fetched, or their file is damaged.
    """
    if model.startswith(TIMM):
        return timm_weights(kind, model)
    of_torchvision = model in torchvision.models.list_models()
    known = torchvision.models.get_model_weights(model) if of_torchvision else ()
    offered = {weights.name.casefold(): weights for weights in known}
    entry = next((w for name, w in offered.items() if name.startswith(kind)), None)
    if entry is None:
        others = [kind for kind in PRETRAINED if any(name.startswith(kind) for name in offered)]
        raise InputError(
            f"torchvision has no {kind} weights for {model}; give --weights "
            f"{', '.join([*others, 'none', 'or a FILE'])}"
        )
    try:
        state = fetch_weights(entry)
    except Exception as error:  # noise can make a reader stumble anywhere
        reason = str(error).partition("\n")[0]
        path = cached_file(entry)
        if path.exists():
            raise InputError(
                f"{path}: damaged or incomplete ({reason}), so the {kind} weights of {model} "
                "cannot be read. Delete this file, and it is fetched again"
            ) from error
        raise InputError(
            f"the {kind} weights of {model} could not be fetched ({reason}). Put the file of "
            f"{entry.url} at {path}, give a file that you have with --weights FILE, or train from "
            "scratch with --weights none"
        ) from error
    # The files of DenseNet have the names of layers of long ago: norm.1 for norm1.
    old_name = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
    layers = {old_name.sub(r"\1\2.", name): tensor for name, tensor in state.items()}
    if model == "googlenet":  # is given ImageNet's and makes these of them (`transform_input`)
        return normalisation((0.5,) * 3, (0.5,) * 3, scale=255) | layers
    preset = entry.transforms()
    return normalisation(preset.mean, preset.std, scale=255) | layers


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict without running code from it: .safetensors, or torch's own format."""
    return unwrap(path, load_safely(path))


def fit(network: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Load weights into all layers of a network, or of its backbone.

    Batch counters are left alone: files from before torch 0.4.1 have none, and nothing reads them.

    Raises:
        InputError: a layer is absent, unknown, or of another shape.
    """
    needed, stored = (
        {
            name: tensor
            for name, tensor in tensors.items()
            if not name.endswith("num_batches_tracked")
        }
        for tensors in (network.state_dict(), state)
    )
    problems = [f"{name} is absent" for name in needed if name not in stored]
    problems += [f"{name} is not part of it" for name in stored if name not in needed]
    problems += [
        f"{name} is {tuple(stored[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in needed.items()
        if name in stored and stored[name].shape != tensor.shape
    ]
    if problems:
        raise InputError(f"{source} do not fit the network: {some_of(problems, limit=3)}")
    network.load_state_dict(stored, strict=False)
