"""Parts of a sequence network by name: `backbone`, `temporal`, `temporal.0`, `classifier`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from twostream.errors import InputError
from twostream.sequence.network import SequenceNetwork
from twostream.training.checkpoint import WEIGHTS


def named_parts(network: SequenceNetwork) -> dict[str, nn.Module]:
    """All parts with a name; the larger ones come before those that they contain."""
    stages: Sequence[nn.Module] = list(network.temporal.stages)  # type: ignore[arg-type]
    return {
        "backbone": network.backbone,
        "temporal": network.temporal,
        **{f"temporal.{number}": stage for number, stage in enumerate(stages)},
        "classifier": network.classifier,
    }


def find_part(network: SequenceNetwork, name: str) -> nn.Module:
    """The part of that name.

    Raises:
        InputError: there is none.
    """
    parts = named_parts(network)
    if name not in parts:
        raise InputError(f"the network has no part {name!r}; it has {', '.join(parts)}")
    return parts[name]


def load_parts(network: SequenceNetwork, source: Path, parts: Sequence[str]) -> None:
    """Load parts from a run folder, a checkpoint folder, or a file of weights.

    Args:
        parts: `backbone`, or `temporal.2=temporal.1`: the part here = the part in `source`.

    Raises:
        InputError: no such file or part, or the weights do not fit.
    """
    candidates = (source / "best" / WEIGHTS, source / WEIGHTS, source)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise InputError(f"{source}: neither a run folder nor a file of weights")
    weights = safetensors.torch.load_file(path)
    for text in parts:
        name, _, other_name = text.partition("=")
        part, other_name = find_part(network, name), other_name or name
        prefix = other_name.replace("temporal.", "temporal.stages.") + "."
        tensors = {
            key.removeprefix(prefix): tensor
            for key, tensor in weights.items()
            if key.startswith(prefix)
        }
        try:
            part.load_state_dict(tensors)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"{path}: its {other_name} does not fit: {reason}") from error


def freeze(network: SequenceNetwork, parts: Sequence[str]) -> None:
    """Freeze parts, their batch statistics too; call it after each `train()`."""
    for name in parts:
        find_part(network, name).requires_grad_(False).eval()


def parameter_groups(
    network: SequenceNetwork, *, lr: float, part_lr: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser, one for each learning rate.

    A part inside another one (`temporal.0` in `temporal`) keeps its own rate.
    """
    rates = {id(parameter): lr for parameter in network.parameters()}
    for name in sorted(part_lr):  # the larger part comes first
        for parameter in find_part(network, name).parameters():
            rates[id(parameter)] = part_lr[name]
    return [
        {
            "lr": rate,
            "params": [p for p in network.parameters() if p.requires_grad and rates[id(p)] == rate],
        }
        for rate in sorted(set(rates.values()))
    ]


def read_rates(texts: Sequence[str]) -> dict[str, float]:
    """`["backbone=1e-5"]` -> `{"backbone": 1e-05}`.

    Raises:
        InputError: not `part=rate` with a positive rate.
    """
    rates = {}
    for text in texts:
        part, _, rate = text.partition("=")
        try:
            rates[part] = float(rate)
        except ValueError:
            rates[part] = 0.0
        if rates[part] <= 0:
            raise InputError(f"{text!r}: expected a part and its learning rate, as backbone=1e-5")
    return rates
