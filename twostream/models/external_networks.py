"""Networks of other tools, whole: built, filled and ready to score, or written as a run of ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from twostream.data.splits import Split
from twostream.data.training_videos import VIDEOS, RunVideo, card_of, write_videos
from twostream.models import default_clip
from twostream.models.checkpoint import NetworkSpec, network_from_spec, save_checkpoint
from twostream.models.external_checkpoints import ExternalCheckpoint, read_external
from twostream.models.initial_weights import fit, stream_of
from twostream.models.published import Bar, find_weights
from twostream.models.segment_network import SegmentNetwork
from twostream_base.errors import InputError
from twostream_base.files import read_text
from twostream_base.vision import torchvision

# What networks of the field were made with, where their files do not say.
FLOW_METHOD, SHORT_SIDE = "tvl1", 256


class ExternalNetwork(NamedTuple):
    """A network of another tool.

    Attributes:
        source: what the user called it. file: where its weights are.
        note: what its classes are called, and why; for people.
        is_numbered: its classes are called by their numbers, as nothing names them.
    """

    source: str
    file: Path
    checkpoint: ExternalCheckpoint
    spec: NetworkSpec
    network: SegmentNetwork
    note: str
    is_numbered: bool

    def __str__(self) -> str:
        return self.source

    @property
    def text(self) -> str:
        """What it is, in words."""
        spec = self.spec
        unit = "flow field" if spec.stream == "motion" else "frame"
        many = f"{spec.clip_length} {unit}{'s' if spec.clip_length > 1 else ''}"
        spacing = {0: " spread over the video", 1: ""}
        if spec.stack > 1:
            many = f"{spec.clip_length // spec.stack} stacks of {spec.stack} flow fields"
        many += spacing.get(spec.frame_interval, f", {spec.frame_interval} apart")
        kind = self.checkpoint.format
        return f"{spec.stream} {spec.model} of {kind}, {many}; {self.note}"


def open_weights(
    weights: str,
    *,
    class_names: Sequence[str] | None = None,
    must_fit: bool = True,
    rotated: bool = True,
    bar: Bar | None = None,
) -> ExternalNetwork:
    """The network in a checkpoint of another tool, with its own classifier.

    Args:
        weights: a file, or a name of `published`, which is fetched if need be.
        class_names: position = label. Without: of 400 classes those of Kinetics-400, of 1,000 those
            of ImageNet, as torchvision lists them; else numbers.
        must_fit: whether another number of classes than names is an error; else they are left.
        rotated, bar: as `read_external` and `find_weights` take them.

    Raises:
        InputError: it cannot be had or read, it is a network that we do not have, it has no
            classifier, or not as many classes as names.
    """
    path, entry = find_weights(weights, bar=bar)
    if path.is_dir() or stream_of(path):
        raise InputError(f"{weights}: weights of a run of ours; give the run folder, not --weights")
    checkpoint = read_external(path, rotated=rotated, name=entry.file if entry else "")
    count = checkpoint.num_classes
    if not count:
        raise InputError(
            f"{weights}: without a classifier it can be trained on (train --weights), not scored"
        )
    if class_names is not None and not must_fit and len(class_names) != count:
        class_names = None
    if class_names is not None:
        names, note = tuple(class_names), f"{count:,} classes"
        if len(names) != count:
            raise InputError(
                f"{weights} tells {count:,} classes apart, and {len(names):,} are named; "
                "`twostream train --weights` puts another classifier in place"
            )
    elif count in NAMED_BY_TORCHVISION:
        what, key = NAMED_BY_TORCHVISION[count]
        names = tuple(torchvision.models.get_weight(key).meta["categories"])
        note = f"{count:,} classes, taken for those of {what} in the order of the alphabet"
        if count != 400:
            note = f"{count:,} classes, taken for those of {what}"
    else:
        names = tuple(str(label) for label in range(count))
        note = f"{count:,} classes, numbered"
    is_numbered = class_names is None and count not in NAMED_BY_TORCHVISION
    spec = spec_of(checkpoint, names)
    network = build_filled(checkpoint, spec, source=weights)
    return ExternalNetwork(weights, path, checkpoint, spec, network, note, is_numbered)


NAMED_BY_TORCHVISION = {
    400: ("Kinetics-400", "R3D_18_Weights.KINETICS400_V1"),
    1000: ("ImageNet", "ResNet18_Weights.IMAGENET1K_V1"),
}


def read_class_names(path: Path) -> tuple[str, ...]:
    """The lines of a file, a class each: `ApplyEyeMakeup`, or numbered from 0 or 1: `1 Archery`.

    Raises:
        InputError: it is empty, or two lines are equal.
    """
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    numbered = [re.fullmatch(r"(\d+)[\s,]+(.+)", line) for line in lines]
    numbers = [int(match[1]) for match in numbered if match]
    if lines and numbers in (list(range(len(lines))), list(range(1, len(lines) + 1))):
        lines = [match[2] for match in numbered if match]
    twice = next((line for line in lines if lines.count(line) > 1), None)
    if twice or not lines:
        raise InputError(
            f"{path}: expected the name of a class in each line; "
            + (f"{twice!r} stands there twice" if twice else "it is empty")
        )
    return tuple(lines)


def spec_of(checkpoint: ExternalCheckpoint, class_names: tuple[str, ...]) -> NetworkSpec:
    """What a checkpoint of another tool says of itself, in the words of ours."""
    usual_clip = default_clip(checkpoint.model, checkpoint.stream)
    length, interval = checkpoint.clip_length, checkpoint.frame_interval
    return NetworkSpec(
        model=checkpoint.model,
        model_options=checkpoint.model_options,
        stream=checkpoint.stream,
        clip_length=checkpoint.stack * (usual_clip["clip_length"] if length is None else length),
        stack=checkpoint.stack,
        frame_interval=usual_clip["frame_interval"] if interval is None else interval,
        resize=(),
        class_names=class_names,
        num_segments=checkpoint.num_segments,
        consensus="mean",
        consensus_options={},
        input_size=224,
        epoch=checkpoint.epoch,
        # Those who publish an epoch mostly chose it on the test list; tsn-pytorch's code does.
        selected_on="unknown" if checkpoint.format == "torchvision" else "test",
        flow={"bound": 20.0} if checkpoint.stream == "motion" else {},
    )


def build_filled(
    checkpoint: ExternalCheckpoint, spec: NetworkSpec, *, source: str
) -> SegmentNetwork:
    """The network of a spec with all layers of a checkpoint, and its normalisation.

    Raises:
        InputError: a layer is absent, unknown, or of another shape.
    """
    network = network_from_spec(spec)
    what = f"{source}: its layers, taken for a {checkpoint.model} of {checkpoint.format},"
    layers = {f"backbone.{name}": tensor for name, tensor in checkpoint.layers.items()}
    layers |= {f"classifier.{name}": tensor for name, tensor in checkpoint.head.items()}
    if checkpoint.head and "bias" not in checkpoint.head:
        layers["classifier.bias"] = torch.zeros(checkpoint.num_classes)
    repeats = spec.modality.network_length
    for key, values in (("mean", checkpoint.mean), ("std", checkpoint.std)):
        layers[key] = torch.tensor(values).repeat(repeats)[:, None, None]
    fit(network, layers, source=what)
    return network


def write_imported(
    folder: Path,
    external: ExternalNetwork,
    *,
    trained_on: Split | None = None,
    lists: tuple[str, int | None] = ("", None),
) -> None:
    """Write the checkpoint `folder`, from which `score` and `train --weights` can start.

    Args:
        trained_on: the split on which it was trained; None where that is not known.
        lists: name of its data set, and number of the split.
    """
    videos = []
    if trained_on:
        videos = [
            RunVideo(record.name, trained_on.class_names[record.label], record.group, part)
            for part in ("train", "test")
            for record in trained_on.subset(part)
        ]
    spec = external.spec
    card = card_of(
        videos, dataset=lists[0], split=lists[1], selected_on=spec.selected_on, initial=[]
    )
    if videos:
        spec = replace(spec, training_videos=card)
    state = {"imported": {"format": external.checkpoint.format}}
    save_checkpoint(folder, external.network, spec, state)
    if videos:
        write_videos(folder.parent / VIDEOS, videos)
