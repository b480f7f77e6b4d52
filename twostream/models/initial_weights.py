"""What a network starts from: ImageNet's weights, nothing, or a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from twostream.models.timm_networks import TIMM, timm_weights
from twostream_base.errors import InputError, some_of
from twostream_base.vision import cached_file, fetch_weights, torchvision

BACKBONE = "backbone."
PRETRAINED = ("imagenet", "kinetics400")


def initial_weights(weights: str, *, model: str) -> Mapping[str, Tensor]:
    """Tensors in torchvision's names; `mean` and `std` among them where the weights have their own.

    Those of a run are of all its channels (T*C, 1, 1), torchvision's of an RGB frame (3, 1, 1).

    Args:
        weights: `imagenet` or `kinetics400` (torchvision's own loader), `none` (gives none), or a
            file: a state dict of torchvision's names as .pth or .safetensors, or the weights of a
            twostream run.

    Raises:
        InputError: the weights cannot be had or read.
    """
    if weights == "none":
        return {}
    if weights in PRETRAINED:
        return pretrained_weights(weights, model=model)
    state = read_weights(Path(weights))
    if not any(name.startswith(BACKBONE) for name in state):
        return state
    # The weights of a run of ours: its backbone and normalisation, without its classifier.
    layers = {n.removeprefix(BACKBONE): t for n, t in state.items() if n.startswith(BACKBONE)}
    return {key: state[key] for key in ("mean", "std") if key in state} | layers


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
    preset = entry.transforms()
    # GoogLeNet is given ImageNet's and makes these of them itself (`transform_input`).
    parts = {"mean": (0.5,) * 3, "std": (0.5,) * 3} if model == "googlenet" else vars(preset)
    normalisation = {
        key: torch.tensor([255 * value for value in parts[key]])[:, None, None]
        for key in ("mean", "std")
    }
    return normalisation | layers


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict without running code from it: .safetensors, or torch's own format."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; --weights takes imagenet, none, or a file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noise can make a reader stumble anywhere
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: not a file of weights that can be read safely ({reason})"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(
            f"{path}: expected a state dict, name -> tensor; `twostream import-weights` takes the "
            "checkpoints of other tools"
        )
    return state


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
