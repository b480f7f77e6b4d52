"""Logits of every view of every video."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from twostream.compute.distributed import gather_in_order, shard
from twostream.data.dataset import ViewWriter, views_shape
from twostream.data.loader import load_batches, split_into_batches
from twostream.data.protocols import Protocol
from twostream.data.stored import StoredVideo
from twostream.models.segment_network import SegmentNetwork
from twostream.scoring.forward import predict
from twostream.transforms.presets import Modality

Bar = Callable[..., Iterator[Any]]  # twostream.commands.console.progress, or anything like it


def video_batches(count: int, protocol: Protocol, *, snippets_at_once: int) -> list[list[int]]:
    """Cut videos 0 to `count` into batches of about `snippets_at_once` views, a video at least.

    The last bits of logits depend on what enters the network together. So these batches are made
    from the whole list, whatever part of it is scored, by whichever process.
    """
    views = protocol.num_snippets * protocol.num_crops
    return split_into_batches(range(count), batch_size=max(1, snippets_at_once // views))


def score_batches(
    network: SegmentNetwork,
    videos: Sequence[StoredVideo],
    batches: Sequence[Sequence[int]],
    *,
    modality: Modality,
    protocol: Protocol,
    size: int,
    snippets_at_once: int,
    threads: int,
    device: torch.device,
    precision: str,
    bar: Bar,
) -> Generator[NDArray[np.float32]]:
    """Yield the logits (N, S, R, classes) of each batch of indices into `videos`."""
    portions = [_portions(batch, protocol, snippets_at_once=snippets_at_once) for batch in batches]
    loaded = load_batches(
        ViewWriter(videos, modality, protocol).write,
        [portion for own in portions for portion in own],
        shape=views_shape(modality, protocol, size=size),
        threads=threads,
        device=device,
    )
    clips = (views.flatten(0, 1) for views, _ in loaded)
    parts: Iterable[Any] = (
        (islice(clips, len(own)), batch) for own, batch in zip(portions, batches, strict=True)
    )
    for _, logits in predict(
        network,
        bar(parts, total=len(batches), label=f"scoring, {protocol.name}", unit="batch"),
        crops=protocol.num_crops,
        device=device,
        precision=precision,
    ):
        yield logits


def _portions(
    batch: Sequence[int], protocol: Protocol, *, snippets_at_once: int
) -> list[list[tuple[int, int]]]:
    """Cut the snippets (video, number) of a batch into what enters the network together.

    So many views of a video need not be in memory all at one time.
    """
    snippets = [(video, number) for video in batch for number in range(protocol.num_snippets)]
    at_once = max(1, snippets_at_once // protocol.num_crops)
    return [snippets[begin : begin + at_once] for begin in range(0, len(snippets), at_once)]


def score_videos(
    network: SegmentNetwork,
    videos: Sequence[StoredVideo],
    *,
    protocol: Protocol,
    snippets_at_once: int,
    **options: Any,
) -> NDArray[np.float32]:
    """Logits (V, S, R, classes) of `videos` in their order, under a test protocol.

    With several processes each scores its share of the batches, and all get all logits.

    Args:
        options: as `score_batches` takes them.
    """
    batches = video_batches(len(videos), protocol, snippets_at_once=snippets_at_once)
    own = score_batches(
        network,
        videos,
        shard(batches),
        protocol=protocol,
        snippets_at_once=snippets_at_once,
        **options,
    )
    return np.concatenate(gather_in_order(list(own)))
