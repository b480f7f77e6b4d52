"""Checkpoints of sequence networks: the specification in them, and the network built from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twostream.models.checkpoint import (
    WEIGHTS,
    has_checkpoint,
    load_weights,
    read_spec_as,
)
from twostream.sequence.network import SequenceNetwork, build_network, without_weights
from twostream_base.errors import InputError
from twostream_base.files import sha256_file
from twostream_base.versions import tool_version


@dataclass(frozen=True, slots=True)
class SequenceNetworkSpec:
    """Everything that is needed to rebuild a sequence network; stored with its weights.

    Attributes:
        backbone, temporal: as `build_network` takes them.
        vocabulary: gloss g is class g + 1.
        frame_size, input_size: sides of the frames and of their crop, pixels.
        epoch: from 0; the epoch of the lowest validation error rate, or the last.
        averaged: epochs whose mean the weights are; empty otherwise.
    """

    stream: str
    backbone: str
    temporal: tuple[str, ...]
    vocabulary: tuple[str, ...]
    frame_size: int
    input_size: int
    epoch: int
    averaged: tuple[int, ...] = ()


def best_checkpoint(run: Path) -> Path:
    """The checkpoint that a run's score files are made with: its average, or its best epoch.

    Raises:
        InputError: the run has none yet.
    """
    for folder in (run / "average", run / "best"):
        if has_checkpoint(folder):
            return folder
    raise InputError(f"{run}: no trained network in it; give a run folder of train-sequence")


def load_sequence_network(folder: Path) -> tuple[SequenceNetworkSpec, SequenceNetwork]:
    """The network in a checkpoint folder, and its specification.

    Raises:
        InputError: it is damaged, or not of `train-sequence`.
    """
    spec = read_spec_as(SequenceNetworkSpec, folder, command="train-sequence")
    network = build_network(
        stream=spec.stream,
        backbone=without_weights(spec.backbone),
        temporal=spec.temporal,
        classes=len(spec.vocabulary) + 1,
    )
    load_weights(folder, network)
    return spec, network


def score_metadata(spec: SequenceNetworkSpec, *, checkpoint: Path, **facts: Any) -> dict[str, Any]:
    """The metadata of a score file: the network, its weights, the version, and `facts`."""
    metadata = {key: value for key, value in asdict(spec).items() if key != "vocabulary"}
    weights = {"checkpoint": sha256_file(checkpoint / WEIGHTS), "version": tool_version()}
    return metadata | facts | weights
