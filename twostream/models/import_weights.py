"""A network of another tool becomes a run folder that can be scored."""

from __future__ import annotations

from pathlib import Path

import torch

from twostream.models.checkpoint import (
    NetworkSpec,
    network_from_spec,
    save_checkpoint,
)
from twostream.models.external_checkpoints import ExternalCheckpoint
from twostream.models.initial_weights import fit
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError


def write_imported(
    folder: Path, external: ExternalCheckpoint, *, class_names: tuple[str, ...], source: str
) -> None:
    """Write the checkpoint `folder`, from which `score` and `train --weights` can start.

    Raises:
        InputError: another number of classes, or layers that do not fit.
    """
    if len(class_names) != external.num_classes:
        raise InputError(
            f"{source} tells {external.num_classes} classes apart, the data set has "
            f"{len(class_names)}; without --dataset its classes are numbered, and "
            "train --weights can start from it"
        )
    spec = NetworkSpec(
        model=external.model,
        model_options={},
        stream=external.stream,
        clip_length=MODALITIES[external.stream].snippet_length,
        frame_interval=1,
        resize=(),
        class_names=class_names,
        num_segments=3,
        consensus="mean",
        consensus_options={},
        input_size=224,
        epoch=external.epoch,
        # Both tools keep the epoch that is best on the test list.
        selected_on="unknown" if external.format == "torchvision" else "test",
        flow={"bound": 20.0} if external.stream == "motion" else {},
    )
    network = network_from_spec(spec)
    layers = dict(external.layers)
    classifier = {key: layers.pop(f"fc.{key}") for key in ("weight", "bias")}
    network.classifier.load_state_dict(classifier)
    fit(network.backbone, layers, source=source)
    repeats = network.mean.shape[0] // len(external.mean)
    network.take_normalisation(
        {
            key: torch.tensor(values).repeat(repeats)[:, None, None]
            for key, values in (("mean", external.mean), ("std", external.std))
        }
    )
    save_checkpoint(folder, network, spec, {"imported": {"format": external.format}})
