"""What a network starts from: ImageNet's weights, nothing, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import safetensors.torch
import torch
from torch import Tensor, nn

from twostream.errors import InputError, some_of
from twostream.vision import fetch_weights, torchvision

BACKBONE = "backbone."


def initial_weights(weights: str, *, model: str) -> Mapping[str, Tensor]:
    """Tensors in torchvision's names; `mean` and `std` among them where a file has its own.

    Args:
        weights: `imagenet` (torchvision's own loader), `none` (gives none), or a file: a state dict
            of torchvision's names as .pth or .safetensors, or the weights of a twostream run.

    Raises:
        InputError: the weights cannot be had or read.
    """
    if weights == "none":
        return {}
    if weights == "imagenet":
        return imagenet_weights(model)
    return _of_a_run(read_weights(Path(weights)))


def imagenet_weights(model: str) -> Mapping[str, Tensor]:
    """The IMAGENET1K_V1 weights by torchvision's loader: from its cache, or over the network."""
    try:
        return fetch_weights(torchvision.models.get_model_weights(model).IMAGENET1K_V1)
    except (URLError, OSError, RuntimeError) as error:
        raise InputError(
            f"the ImageNet weights of {model} could not be fetched ({error}). Give a file that you "
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
        raise InputError(
            f"{path}: expected a state dict, name -> tensor; `twostream import-weights` takes the "
            "checkpoints of other tools"
        )
    return state


def fit(network: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Load all layers but the classifier `fc`, whose classes are another data set's.

    Batch counters are left alone: files from before torch 0.4.1 have none, and nothing reads them.

    Raises:
        InputError: a layer is absent, unknown, or of another shape.
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


def _of_a_run(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights of a run of ours without its classifier; others as they are."""
    if not any(name.startswith(BACKBONE) for name in state):
        return state
    kept = {name: state[name] for name in ("mean", "std")}
    return kept | {
        name.removeprefix(BACKBONE): tensor
        for name, tensor in state.items()
        if name.startswith(BACKBONE)
    }
