"""What keeps a large network from learning few videos by heart."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from twostream.models.segment_network import SegmentNetwork


def add_dropout(network: SegmentNetwork, rate: float) -> None:
    """Drop inputs of the classifier at this rate while training (Wang et al., ECCV 2016, 3.2).

    The names of the weights stay, so that scoring needs to know nothing of it.
    """

    def drop(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        return (F.dropout(inputs[0], rate, training=module.training),)

    network.classifier.register_forward_pre_hook(drop)


def freeze_batch_norm(network: nn.Module) -> None:
    """Partial batch normalisation (Wang et al., ECCV 2016, section 3.2): only the first one learns.

    The others keep statistics, scale and shift, as in that paper's PyTorch code. The first one
    alone sees a new kind of input. `network.train()` undoes it.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms[1:]:
        norm.eval().requires_grad_(False)


def freeze_backbone(network: SegmentNetwork) -> None:
    """Only the classifier, or the consensus, learns; the rest works as in evaluation."""
    network.backbone.eval().requires_grad_(False)
