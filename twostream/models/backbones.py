"""Backbones from torchvision: features instead of a classifier, and any number of inputs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from twostream.models.initial_weights import fit
from twostream.models.input_channels import adapt_input_channels, first_convolution
from twostream.vision import torchvision


def build_backbone(
    name: str, *, in_channels: int, state: Mapping[str, Tensor], source: str
) -> tuple[nn.Module, int]:
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
    network = _plain(torchvision.models.get_model(name, weights=None))
    head, feature_size = _drop_classifier(network)
    first, conv = first_convolution(network)
    given = state.get(f"{first}.weight")
    if given is not None and given.shape[1] == in_channels != conv.in_channels:
        network.set_submodule(first, adapt_input_channels(conv, in_channels))
    if state:
        # The classes of its classifier are another data set's.
        kept = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
        fit(network, kept, source=source)
    first, conv = first_convolution(network)
    if conv.in_channels != in_channels:
        network.set_submodule(first, adapt_input_channels(conv, in_channels))
    return network, feature_size


def _plain(network: nn.Module) -> nn.Module:
    """The same network, with the same names, of layers that load any tensors that fit.

    A MNASNet refuses those without a version number, which safetensors and plain dicts cannot hold.
    """
    if not isinstance(network, torchvision.models.MNASNet):
        return network
    layers = {
        "layers": network.layers,
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "classifier": network.classifier,
    }
    return nn.Sequential(OrderedDict(layers))


def _drop_classifier(network: nn.Module) -> tuple[str, int]:
    """Let the network give what its classifier would see; return that layer's name and inputs."""
    name, layer = [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv3d)
    ][-1]
    network.set_submodule(name, nn.Identity())
    size = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    return name, size
