"""The networks by name. Building one is late: this file imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twostream import plugins
from twostream.errors import InputError
from twostream.models.consensus import Consensus, Learned

if TYPE_CHECKING:
    from torch import nn

    from twostream.models.segment_network import SegmentNetwork
    from twostream.transforms.presets import Modality


def _segment_resnet(name: str) -> Callable[..., nn.Module]:
    def build(*, modality: Modality, num_classes: int, weights: str = "none") -> nn.Module:
        from torch import nn

        from twostream.models.backbones import build_resnet
        from twostream.models.initial_weights import initial_weights
        from twostream.models.segment_network import SegmentNetwork

        state = dict(initial_weights(weights, model=name))
        normalisation = {key: state.pop(key) for key in [*state] if key in ("mean", "std")}
        backbone, feature_size = build_resnet(
            name,
            in_channels=modality.channels * modality.snippet_length,
            state=state,
            source=f"the weights {weights} of {name}" if weights == "imagenet" else weights,
        )
        network = SegmentNetwork(backbone, nn.Linear(feature_size, num_classes), modality)
        network.take_normalisation(normalisation)
        return network

    return build


MODELS: dict[str, Callable[..., nn.Module]] = {
    name: _segment_resnet(name)
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
}


def build_network(
    model: str,
    *,
    consensus: Consensus,
    modality: Modality,
    num_classes: int,
    weights: str = "none",
) -> SegmentNetwork:
    """Build the network `model` of MODELS, or `module:function`; a learned consensus is its head.

    Raises:
        InputError: the weights cannot be had, or the network has no features and classifier.
    """
    network: SegmentNetwork = plugins.load(model, MODELS)(
        modality=modality, num_classes=num_classes, weights=weights
    )
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
