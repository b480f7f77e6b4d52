"""Checkpoints of sequence networks: their specification, loading, and averaging over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from twostream.models import TWO_STREAMS
from twostream.models.checkpoint import (
    WEIGHTS,
    has_checkpoint,
    load_weights,
    read_spec_as,
    read_tensors,
)
from twostream.sequence.network import (
    PARTS,
    SequenceNetwork,
    build_network,
    load_parts,
    without_weights,
)
from twostream.training.run_folder import epoch_folder
from twostream_base import plugins
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
        training_videos: which videos it has seen, as in `NetworkSpec`.
        extraction: as in `NetworkSpec`; empty where frames were read from videos.
        fuse, similarity: of a joint network, as `build_network` takes them.
    """

    stream: str
    backbone: str
    temporal: tuple[str, ...]
    vocabulary: tuple[str, ...]
    frame_size: int
    input_size: int
    epoch: int
    averaged: tuple[int, ...] = ()
    training_videos: dict[str, Any] = field(default_factory=dict)
    extraction: dict[str, Any] = field(default_factory=dict)
    fuse: str = "sum"
    similarity: str = "joined"


def best_checkpoint(run: Path) -> Path:
    """The checkpoint that a run's score files are made with: its average, or its best epoch."""
    for folder in (run / "average", run / "best"):
        if has_checkpoint(folder):
            return folder
    raise InputError(f"{run}: no trained network in it; give a run folder of train-sequence")


def load_sequence_network(
    folder: Path, *, trust_plugins: plugins.Trust = False
) -> tuple[SequenceNetworkSpec, SequenceNetwork]:
    """The network in a checkpoint folder, and its specification.

    Args:
        trust_plugins: as `read_spec_as` takes it.

    Raises:
        InputError: it is damaged, or not of `train-sequence`.
    """
    spec = read_spec_as(
        SequenceNetworkSpec, folder, command="train-sequence", trust_plugins=trust_plugins
    )
    with plugins.naming(folder / WEIGHTS):
        network = build_network(
            stream=spec.stream,
            backbone=without_weights(spec.backbone),
            temporal=spec.temporal,
            classes=len(spec.vocabulary) + 1,
            fuse=spec.fuse,
            similarity=spec.similarity,
        )
    load_weights(folder, network)
    return spec, network


def check_same_extraction(run: Path, spec: SequenceNetworkSpec, now: Mapping[str, Any]) -> None:
    """Refuse frames and flow that were made otherwise than those that a run has learnt from.

    The pictures of a store may be encoded otherwise: `convert-flow` gives the same in another
    codec. Frames may come from the videos themselves too, flow may not.
    """
    of_flow = () if spec.stream == "spatial" else ("short_side", "method", "quantiser")
    changed = [
        f"{key} was {spec.extraction.get(key, False)!r}, now {now.get(key, False)!r}"
        for key in ("drop_repeated", *of_flow)
        if spec.extraction.get(key, False) != now.get(key, False)
    ]
    if changed:
        had, has = ("a store" if of else "the videos themselves" for of in (spec.extraction, now))
        unlike = f" ({'; '.join(changed)})" if had == has else ""
        raise InputError(
            f"{run} was trained on frames and flow of {had}, these are of {has}{unlike}: give "
            "--store with what was extracted alike, or leave it out where the run had none"
        )


ONCE = ("backbone", "frame_size", "input_size", "vocabulary")  # what a joint network has once


def read_starts(
    runs: Sequence[str], *, alike: Sequence[str] = ONCE
) -> list[tuple[Path, SequenceNetworkSpec]]:
    """The checkpoints that a joint network starts from, of RGB and of flow, and what they are.

    Args:
        alike: fields of their specifications that must be equal.

    Raises:
        InputError: one is of another stream, or the two differ in what must be alike.
    """
    starts = []
    for run, stream in zip(runs, TWO_STREAMS, strict=True):
        folder = best_checkpoint(Path(run))
        spec = read_spec_as(SequenceNetworkSpec, folder, command="train-sequence")
        if spec.stream != stream:
            raise InputError(
                f"--from {' '.join(runs)}: {run} is a {spec.stream} network; give a run of the "
                "spatial stream first, and then one of the motion stream"
            )
        starts.append((folder, spec))
    (_, spatial), (_, motion) = starts
    for key in alike:
        if getattr(spatial, key) != getattr(motion, key):
            values = f" ({getattr(spatial, key)} and {getattr(motion, key)})" * (
                key != "vocabulary"
            )
            raise InputError(
                f"--from {' '.join(runs)}: their {key.replace('_', '-')} differs{values}; train "
                "one of them again as the other"
                + ", or give --temporal, with which only the backbone of such a run is taken over"
                * (key == "temporal")
            )
    return starts


def load_streams(network: SequenceNetwork, runs: Sequence[str], *, temporal: Sequence[str]) -> None:
    """Take the parts of two runs over into a joint network, of RGB and of flow.

    All of them where its temporal modules are those of the run, else the backbone alone.
    """
    for folder, spec in read_starts(runs):
        parts = PARTS if spec.temporal == tuple(temporal) else ("backbone",)
        load_parts(network, folder, [f"{part}.{spec.stream}={part}" for part in parts])


def score_metadata(spec: SequenceNetworkSpec, *, checkpoint: Path, **facts: Any) -> dict[str, Any]:
    """The metadata of a score file: the network, its weights, the version, and `facts`."""
    elsewhere = ("vocabulary", "training_videos")
    metadata = {key: value for key, value in asdict(spec).items() if key not in elsewhere}
    weights = {"checkpoint": sha256_file(checkpoint / WEIGHTS), "version": tool_version()}
    return metadata | facts | weights


def read_average(text: str) -> tuple[str, int]:
    """`last:5` -> `("last", 5)`, `best:3` -> `("best", 3)`; no text is no average, `("", 0)`."""
    which, _, count = text.partition(":")
    if not text:
        return "", 0
    if which not in ("last", "best") or not count.isdecimal() or int(count) < 1:
        raise InputError(f"--average {text!r}: expected last:N or best:N, such as last:5")
    return which, int(count)


def best_epochs(rows: Sequence[Mapping[str, Any]], count: int) -> list[int]:
    """The `count` epochs with the fewest errors; ties go to the lower loss."""
    ranked = sorted(rows, key=lambda row: (row["errors"], row["val_loss"], row["epoch"]))
    return [int(row["epoch"]) for row in ranked[:count]]


def epochs_to_average(rows: Sequence[Mapping[str, Any]], average: str) -> list[int]:
    """The epochs of the log that `--average` asks for."""
    which, count = read_average(average)
    if which == "best":
        return sorted(best_epochs(rows, count))
    return [int(row["epoch"]) for row in rows[-count:]] if count else []


def load_average(run: Path, network: nn.Module, epochs: Sequence[int]) -> None:
    """Load the mean of the epochs' weights and batch statistics; counters are the last one's."""
    total: dict[str, Tensor] = {}
    for epoch in epochs:
        weights = read_tensors(epoch_folder(run, epoch))
        for name, tensor in weights.items():
            if not tensor.is_floating_point():
                total[name] = tensor
            else:
                share = tensor.to(torch.float64) / len(epochs)
                total[name] = total[name] + share if name in total else share
    network.load_state_dict(total)
