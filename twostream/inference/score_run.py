"""Scoring with the network of a run folder."""

from __future__ import annotations

from pathlib import Path

import torch

from twostream import plugins
from twostream.data.splits import DATASETS, read_split
from twostream.data.stored import join_store
from twostream.errors import InputError, some_of
from twostream.inference.protocols import PROTOCOLS
from twostream.inference.scoring import Bar, score_videos, write_score_file
from twostream.models import MODELS
from twostream.training.checkpoint import load_weights, read_card
from twostream.training.precision import find_precision
from twostream.transforms.presets import MODALITIES


def score_run(
    run: Path,
    path: Path,
    *,
    dataset: str,
    annotations: Path,
    split: int,
    store: Path,
    allow_missing: bool,
    use_damaged: bool,
    subset: str,
    protocol: str,
    checkpoint: str,
    batch_size: int,
    threads: int,
    device: str,
    precision: str,
    bar: Bar,
) -> tuple[int, ...]:
    """Write the score file `path` with the network in `run`; return its shape (V, S, R, classes).

    Raises:
        InputError: the network knows other classes, or saw flow of other settings.
    """
    card = read_card(run / checkpoint)
    lists = read_split(plugins.load(dataset, DATASETS), annotations, split=split)
    if lists.class_names != card.class_names:
        unlike = sorted(set(lists.class_names) ^ set(card.class_names))
        raise InputError(
            f"{run} was trained on {len(card.class_names)} classes, {dataset} split {split} has "
            f"{len(lists.class_names)}; they differ in {some_of(unlike) or 'their order'}"
        )
    modality = MODALITIES[card.stream]
    joined = join_store(
        lists.subset(subset),
        store,
        modality=modality,
        allow_missing=allow_missing,
        use_damaged=use_damaged,
    )
    if card.flow and card.flow != joined.flow:
        raise InputError(
            f"{run} was trained on flow of {card.flow}, {store} holds {joined.flow}; "
            "extract it as it was in training"
        )
    network = plugins.load(card.model, MODELS)(modality=modality, num_classes=len(card.class_names))
    load_weights(run / checkpoint, network)
    scores = score_videos(
        network.to(device, memory_format=torch.channels_last),
        joined.videos,
        modality=modality,
        protocol=plugins.load(protocol, PROTOCOLS),
        size=card.input_size,
        snippets_at_once=batch_size,
        threads=threads,
        device=torch.device(device),
        precision=find_precision(precision, torch.device(device)),
        bar=bar,
    )
    facts = {"dataset": dataset, "split": split, "subset": subset, "protocol": protocol}
    write_score_file(
        path, scores, joined=joined, card=card, checkpoint=run / checkpoint, facts=facts
    )
    return scores.shape
