"""How large networks are: parameters and multiply-adds, without computing anything."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from twostream.models import MODELS, default_clip
from twostream.transforms.presets import modality_of
from twostream_base import plugins


class NetworkSize(NamedTuple):
    """Size of a network.

    Attributes:
        frames, step: RGB frames or flow pairs of a snippet, and the step between them; a step of 0
            spreads them over the whole video.
        parameters: with a classifier of the classes asked for.
        multiply_adds: of one view of one snippet, in convolutions, matrix products and attention;
            norms, activations and poolings are not counted, as in most published tables.
    """

    frames: int
    step: int
    parameters: int
    multiply_adds: int


def network_size(model: str, *, stream: str, num_classes: int, side: int) -> NetworkSize:
    """Size of the network `model` of MODELS, or `module:function`, for its usual snippet.

    Args:
        stream: key of MODALITIES.
        side: of the square input, pixels.
    """
    clip = default_clip(model, stream)
    modality = modality_of(
        stream, clip_length=clip["clip_length"], frame_interval=clip["frame_interval"]
    )
    build = plugins.load(model, MODELS)
    try:
        with torch.device("meta"):  # weights with shapes only
            network = build(modality=modality, num_classes=num_classes)
    except NotImplementedError:  # torchvision's RegNets compute their widths with tensors
        network = build(modality=modality, num_classes=num_classes).to("meta")
    network.eval()
    shape = (1, 1, modality.snippet_length, modality.channels, side, side)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(shape, dtype=torch.uint8, device="meta"))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    multiply_adds = counter.get_total_flops() // 2
    return NetworkSize(modality.snippet_length, modality.interval, parameters, multiply_adds)
