"""Logits of every view of every video, and the score file that holds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fusion.score_file import ScoreTable, write_scores
from twostream.data.dataset import test_views
from twostream.data.loader import load_batches, split_into_batches
from twostream.data.stored import Joined, StoredVideo
from twostream.files import sha256_file
from twostream.inference.protocols import Protocol
from twostream.training.checkpoint import WEIGHTS, NetworkCard
from twostream.training.loop import predict
from twostream.transforms.clips import Clip
from twostream.transforms.presets import Modality
from twostream.versions import library_version, tool_version

Bar = Callable[..., Iterator[Any]]  # twostream.console.progress, or anything like it


def score_videos(
    network: nn.Module,
    videos: Sequence[StoredVideo],
    *,
    modality: Modality,
    protocol: Protocol,
    size: int,
    snippets_at_once: int,
    threads: int,
    device: torch.device,
    precision: str,
    bar: Bar,
) -> NDArray[np.float32]:
    """Logits (V, S, R, classes) of `videos` in their order, under a test protocol."""

    def load(index: int) -> Clip:
        clips = test_views(videos[index], modality, protocol, size=size)
        return clips.reshape(-1, *clips.shape[2:])

    views = (protocol.num_snippets, protocol.num_crops)
    batch_size = max(1, snippets_at_once // math.prod(views))
    batches = split_into_batches(range(len(videos)), batch_size=batch_size)
    loaded: Iterable[Any] = load_batches(load, batches, threads=threads)
    logits: list[NDArray[np.float32]] = []
    for _, batch in predict(
        network,
        bar(loaded, total=len(batches), label=f"scoring, {protocol.name}", unit="batch"),
        device=device,
        precision=precision,
        snippets_at_once=snippets_at_once,
    ):
        logits.append(batch.reshape(len(batch), *views, -1))
    return np.concatenate(logits)


def write_score_file(
    path: Path,
    scores: NDArray[np.float32],
    *,
    joined: Joined,
    card: NetworkCard,
    checkpoint: Path,
    facts: dict[str, Any],
) -> None:
    """Write logits (V, S, R, classes) of `joined.videos` with all that says how they came about.

    Args:
        checkpoint: folder of the weights that made them.
        facts: data set, split, subset and protocol.
    """
    about = {
        "stream": card.stream,
        "model": card.model,
        **facts,
        "listed": len(joined.videos) + len(joined.missing),
        "missing": len(joined.missing),
        "checkpoint": sha256_file(checkpoint / WEIGHTS),
        "epoch": card.epoch,
        "selected_on": card.selected_on,
        "flow": card.flow,
        "versions": {"twostream": tool_version(), "torch": library_version("torch")},
    }
    table = ScoreTable(
        names=tuple(video.record.name for video in joined.videos),
        class_names=card.class_names,
        scores=scores,
        labels=np.array([video.record.label for video in joined.videos], dtype=np.int64),
        kind="logits",
        about=about,
    )
    write_scores(path, table)
