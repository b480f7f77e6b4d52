"""Dry run: check that a network accepts every input size before hours of work."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from twostream.compute.memory import is_out_of_memory
from twostream.data.protocols import PROTOCOLS
from twostream.models.segment_network import SegmentNetwork
from twostream.transforms.presets import Modality
from twostream_base import plugins
from twostream_base.errors import InputError


def check_input_sizes(
    network: SegmentNetwork,
    *,
    model: str,
    modality: Modality,
    input_size: int,
    protocols: Sequence[str],
    device: torch.device,
) -> None:
    """Run a network on an empty snippet of each size that it is going to see.

    Neither its weights and statistics nor any random numbers change.

    Args:
        input_size: side in training, pixels.
        protocols: of the tests to come, keys of PROTOCOLS or `module:function`.

    Raises:
        InputError: it takes other lengths or sizes alone, as transformers do.
    """
    sides = {input_size: f"--input-size {input_size}"}
    for name in protocols:
        side = plugins.load(name, PROTOCOLS).side(input_size)
        sides.setdefault(side, f"protocol {name} of --input-size {input_size}")
    trained = network.training
    network.eval()
    for side, cause in sides.items():
        shape = (1, 1, modality.snippet_length, modality.channels, side, side)
        snippet = torch.zeros(shape, dtype=torch.uint8, device=device)
        try:
            with torch.inference_mode():
                network.features(snippet)
        except (RuntimeError, AssertionError) as error:
            if is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{model} cannot take {side} x {side} pixels of {modality.snippet_length} frames "
                f"or pairs, as {cause} gives them ({reason}). Networks made for one size take 224 "
                "and protocols of the same side, such as tsn25x10, in clips as long as `twostream "
                "models` tells"
            ) from error
    network.train(trained)
