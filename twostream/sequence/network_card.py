"""What a sequence checkpoint says of itself, and the network that it holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twostream.errors import InputError
from twostream.files import sha256_file
from twostream.sequence.network import SequenceNetwork, build_network, without_weights
from twostream.training.checkpoint import WEIGHTS, has_checkpoint, load_weights, read_card_as
from twostream.versions import tool_version


@dataclass(frozen=True, slots=True)
class SequenceCard:
    """All that is needed to build a sequence network again; kept with its weights.

    Attributes:
        backbone, temporal: as `build_network` takes them.
        vocabulary: gloss g is class g + 1.
        frame_size, input_size: sides of the frames and of their crop, pixels.
        epoch: from 0, of the lowest validation error rate, or the last.
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
    raise InputError(f"{run}: no trained network in it; give a folder that train-sequence made")


def load_sequence_network(folder: Path) -> tuple[SequenceCard, SequenceNetwork]:
    """The card of the network in a checkpoint, and the network itself.

    Raises:
        InputError: it is damaged, or not of `train-sequence`.
    """
    card = read_card_as(SequenceCard, folder, command="train-sequence")
    network = build_network(
        stream=card.stream,
        backbone=without_weights(card.backbone),
        temporal=card.temporal,
        classes=len(card.vocabulary) + 1,
    )
    load_weights(folder, network)
    return card, network


def about_scores(card: SequenceCard, *, checkpoint: Path, **known: Any) -> dict[str, Any]:
    """What a score file says beside names and glosses: the network, its weights, and `known`."""
    about = {key: value for key, value in asdict(card).items() if key != "vocabulary"}
    weights = {"checkpoint": sha256_file(checkpoint / WEIGHTS), "version": tool_version()}
    return about | known | weights
