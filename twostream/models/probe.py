"""Trying a network on an empty snippet: how large it is, and which input sizes it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from twostream.compute.device import is_out_of_memory
from twostream.data.protocols import find_protocol
from twostream.models import build_network, default_clip, flow_stack
from twostream.models.checkpoint import NetworkSpec
from twostream.models.consensus import mean
from twostream.models.segment_network import SegmentNetwork
from twostream.transforms.presets import modality_of
from twostream_base.errors import InputError


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
    """Size of the network `model`, as `build_network` takes it, for its usual snippet.

    Args:
        stream: key of MODALITIES.
        side: of the square input, pixels.
    """
    clip = default_clip(model, stream)
    length = clip["clip_length"]
    modality = modality_of(
        stream,
        clip_length=length,
        frame_interval=clip["frame_interval"],
        stack=flow_stack(model, stream, length),
    )
    network = build_on_meta(model, consensus=mean, modality=modality, num_classes=num_classes)
    multiply_adds = count_multiply_adds(network.eval(), side=side)
    parameters = count_parameters(network)
    return NetworkSize(modality.snippet_length, modality.interval, parameters, multiply_adds)


def build_on_meta(model: str, **options: Any) -> SegmentNetwork:
    """A network on torch's meta device: its weights have shapes alone. See `build_network`."""
    try:
        with torch.device("meta"):
            return build_network(model, **options)
    except NotImplementedError:  # torchvision's RegNets compute their widths with tensors
        return build_network(model, **options).to("meta")


def count_parameters(network: nn.Module) -> int:
    """The numbers that a network learns, its classifier or learned consensus included."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_multiply_adds(network: SegmentNetwork, *, side: int) -> int:
    """Of one view of one snippet, `side` pixels square; the network is in evaluation mode."""
    shape = (1, 1, *network.modality.snippet_shape(side))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(shape, dtype=torch.uint8, device=network.mean.device))
    return int(counter.get_total_flops() // 2)


def check_input_sizes(
    network: SegmentNetwork, spec: NetworkSpec, *, protocols: Sequence[str], device: torch.device
) -> None:
    """Run a network on an empty snippet of each size that it is going to see.

    Neither its weights and statistics nor any random numbers change.

    Args:
        spec: of the network.
        protocols: of the tests to come, as `find_protocol` takes them.

    Raises:
        InputError: it takes other lengths or sizes alone, as transformers do.
    """
    modality, size = spec.modality, spec.input_size
    sides = {size: f"--input-size {size}"}
    for name in protocols:
        side = find_protocol(name).side(size)
        sides.setdefault(side, f"protocol {name} of --input-size {size}")
    trained = network.training
    network.eval()
    for side, cause in sides.items():
        shape = (1, 1, *modality.snippet_shape(side))
        snippet = torch.zeros(shape, dtype=torch.uint8, device=device)
        try:
            with torch.inference_mode():
                network.features(snippet)
        except (RuntimeError, AssertionError) as error:
            if is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{spec.model} cannot take {side} x {side} pixels of {modality.snippet_length} "
                f"frames or pairs, as {cause} gives them ({reason}). Networks made for one size "
                "take 224 and protocols of the same side, such as tsn25x10, in clips as long as "
                "`twostream models` tells"
            ) from error
    network.train(trained)
