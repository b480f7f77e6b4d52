"""Backbones from torchvision, with a new classifier and as many input channels as are needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import safetensors.torch
import torch
from torch import Tensor, nn

from twostream.errors import InputError, some_of
from twostream.models.input_channels import adapt_input_channels
from twostream.vision import fetch_weights, torchvision


def build_resnet(name: str, *, in_channels: int, num_classes: int, weights: str) -> nn.Module:
    """Build `resnet18` to `resnet152` (He et al., CVPR 2016) for `in_channels` inputs.

    Args:
        weights: `imagenet` (torchvision's own loader), `none`, or a file: a state dict of
            torchvision's names for RGB input, as .pth or .safetensors.

    Raises:
        InputError: the weights cannot be had, read, or made to fit.
    """
    network: nn.Module = getattr(torchvision.models, name)(weights=None)
    if weights == "imagenet":
        _fit(network, imagenet_weights(name), source=f"ImageNet weights of {name}")
    elif weights != "none":
        _fit(network, read_weights(Path(weights)), source=weights)
    if in_channels != 3:
        network.conv1 = adapt_input_channels(network.conv1, in_channels)  # type: ignore[arg-type]
    network.fc = nn.Linear(network.fc.in_features, num_classes)  # type: ignore[union-attr, arg-type]
    return network


def imagenet_weights(name: str) -> Mapping[str, Tensor]:
    """The IMAGENET1K_V1 weights by torchvision's loader: from its cache, or over the network."""
    try:
        return fetch_weights(torchvision.models.get_model_weights(name).IMAGENET1K_V1)
    except (URLError, OSError, RuntimeError) as error:
        raise InputError(
            f"the ImageNet weights of {name} could not be fetched ({error}). Give a file that you "
            f"have with --weights FILE, or train from scratch with --weights none"
        ) from error


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
        raise InputError(f"{path}: expected a state dict, name -> tensor")
    return state


def _fit(network: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Load all layers but the classifier, whose classes are another data set's.

    Batch counters are left alone: files from before torch 0.4.1 have none, and nothing reads them.
    """
    wanted, given = (
        {
            name: tensor
            for name, tensor in tensors.items()
            if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
        }
        for tensors in (network.state_dict(), state)
    )
    problems = [f"{name} is absent" for name in wanted if name not in given]
    problems += [f"{name} is not part of it" for name in given if name not in wanted]
    problems += [
        f"{name} is {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if problems:
        raise InputError(f"{source} do not fit the network: {some_of(problems, limit=3)}")
    network.load_state_dict(given, strict=False)
