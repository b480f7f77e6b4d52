"""Logits of every test view of every video, without gradients."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twostream.compute.device import Runtime
from twostream.compute.distributed import gather_in_order, shard
from twostream.data.dataset import ViewWriter, views_shape
from twostream.data.loader import load_batches, split_into_batches
from twostream.data.protocols import Protocol, whole_frame
from twostream.data.stored import StoredVideo
from twostream.models.segment_network import SegmentNetwork
from twostream.transforms.clips import View, cut_views
from twostream.transforms.presets import Modality


def compute_logits(
    network: SegmentNetwork,
    videos: Sequence[StoredVideo],
    runtime: Runtime,
    *,
    modality: Modality,
    protocol: Protocol,
    size: int,
) -> NDArray[np.float32]:
    """Logits (V, S, R, classes) of `videos` in their order, under a test protocol.

    With several processes each takes its share of the batches, and all get all logits.

    Args:
        size: side of a training clip, pixels; the protocol scales it for its views.
    """
    batches = batch_videos(len(videos), protocol, views_per_forward=runtime.views_per_forward)
    share = iterate_logits(
        network, videos, shard(batches), runtime, modality=modality, protocol=protocol, size=size
    )
    return np.concatenate(gather_in_order(list(share)))


def batch_videos(count: int, protocol: Protocol, *, views_per_forward: int) -> list[list[int]]:
    """Cut videos 0 to `count` into batches of about `views_per_forward` views, a video at least.

    The last bits of logits depend on what enters the network together. So these batches are made
    from the whole list, whatever part of it is scored, by whichever process.
    """
    views = protocol.num_snippets * protocol.num_crops
    return split_into_batches(range(count), batch_size=max(1, views_per_forward // views))


def iterate_logits(
    network: SegmentNetwork,
    videos: Sequence[StoredVideo],
    batches: Sequence[Sequence[int]],
    runtime: Runtime,
    *,
    modality: Modality,
    protocol: Protocol,
    size: int,
) -> Generator[NDArray[np.float32]]:
    """Yield the logits (N, S, R, classes) of each batch of indices into `videos`.

    Args:
        size: as in `compute_logits`.
    """
    # A batch comes in portions of snippets (video, number): the many views of a video need not be
    # in memory all at one time.
    snippets_per_forward = max(1, runtime.views_per_forward // protocol.num_crops)
    portions = []
    for batch in batches:
        snippets = [(video, number) for video in batch for number in range(protocol.num_snippets)]
        begins = range(0, len(snippets), snippets_per_forward)
        portions.append([snippets[begin : begin + snippets_per_forward] for begin in begins])
    written, shape = protocol, views_shape(modality, protocol, size=size)
    cuts = None
    if runtime.device.type == "cuda":
        cuts = find_cuts(videos, modality, protocol, size=size)
    if cuts:
        frame_size, boxes = cuts
        written, shape = replace(protocol, views=whole_frame), (1, *shape[1:3], *frame_size)
    loaded = load_batches(
        ViewWriter(videos, modality, written).write,
        [portion for of_batch in portions for portion in of_batch],
        shape=shape,
        threads=runtime.threads,
        device=runtime.device,
    )
    views = (
        (
            cut_views(portion[:, 0], boxes, u_channels=modality.u_channels) if cuts else portion
        ).flatten(0, 1)
        for portion, _ in loaded
    )
    by_batch = (
        (islice(views, len(of_batch)), batch)
        for of_batch, batch in zip(portions, batches, strict=True)
    )
    label = f"scoring, {protocol.name}"
    shown = runtime.bar(by_batch, total=len(batches), label=label, unit="batch")
    for _, logits in forward_views(network, shown, runtime, crops=protocol.num_crops):
        yield logits


def find_cuts(
    videos: Sequence[StoredVideo], modality: Modality, protocol: Protocol, *, size: int
) -> tuple[tuple[int, int], list[View]] | None:
    """The frame size and the views of each frame, where the device can cut them: see `cut_views`.

    None where views are scaled, frames differ in size, or are no less to copy than their views.
    """
    sizes = {modality.frame_size or video.size for video in videos}
    (frame_size,) = sizes if len(sizes) == 1 else (None,)
    if frame_size is None:
        return None
    views, side = protocol.views(*frame_size), protocol.side(size)
    unscaled = all(box[2:] == (side, side) for box, _ in views)
    smaller = frame_size[0] * frame_size[1] < len(views) * side**2
    return (frame_size, views) if unscaled and smaller else None


def forward_views(
    network: SegmentNetwork,
    batches: Iterable[tuple[Iterable[Tensor], Sequence[int]]],
    runtime: Runtime,
    *,
    crops: int = 1,
) -> Iterator[tuple[Sequence[int], NDArray[np.float32]]]:
    """Yield video indices and logits (N, S, R, classes) of each batch.

    A learned consensus sees the segments of a video together, each crop by itself; it may give
    another number of segments S.

    Args:
        batches: video indices, and the N*S*R snippets of these videos, the crops of a segment in
            succession: uint8 (n, T, C, H, W), in the portions that enter the network together. A
            portion is used up before the next is asked for.
        crops: R.
    """
    network.eval()
    waiting: tuple[Sequence[int], Tensor] | None = None
    for portions, indices in batches:
        with torch.inference_mode(), runtime.autocast():
            features = torch.cat(
                [network.features(portion[:, None].to(runtime.device)) for portion in portions]
            )
            views = features.reshape(len(indices), -1, crops, features.shape[-1])
            segments = views.transpose(1, 2).flatten(0, 1)  # (N*R, S, D)
            logits = network.classifier(segments).unflatten(0, (-1, crops)).transpose(1, 2)
        done, waiting = waiting, (indices, logits)
        if runtime.device.type != "cuda":
            done, waiting = waiting, None
        if done:  # a GPU has been given the next batch before anybody waits for this one
            yield done[0], done[1].float().cpu().numpy()
    if waiting:
        yield waiting[0], waiting[1].float().cpu().numpy()
