"""Backbones from torchvision: features instead of a classifier, and any number of inputs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from twostream.models.initial_weights import fit
from twostream.models.input_channels import adapt_input_channels
from twostream.vision import torchvision


def build_resnet(
    name: str, *, in_channels: int, state: Mapping[str, Tensor], source: str
) -> tuple[nn.Module, int]:
    """Build `resnet18` to `resnet152` (He et al., CVPR 2016) for `in_channels` inputs.

    Args:
        state: the weights to start from, in torchvision's names; none where it is empty. Those of
            RGB networks are adapted to the inputs, those of `in_channels` inputs are taken as is.
        source: what the weights are called in an error.

    Returns:
        the backbone, (N, in_channels, H, W) -> features (N, D), and D.

    Raises:
        InputError: the weights do not fit.
    """
    network: nn.Module = getattr(torchvision.models, name)(weights=None)
    feature_size: int = network.fc.in_features  # type: ignore[assignment, union-attr]
    network.fc = nn.Identity()
    first = state.get("conv1.weight")
    if first is not None and first.shape[1] == in_channels != 3:
        network.conv1 = adapt_input_channels(network.conv1, in_channels)  # type: ignore[arg-type]
    if state:
        fit(network, state, source=source)
    if network.conv1.in_channels != in_channels:  # type: ignore[union-attr]
        network.conv1 = adapt_input_channels(network.conv1, in_channels)  # type: ignore[arg-type]
    return network, feature_size
