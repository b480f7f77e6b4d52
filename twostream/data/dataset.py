"""Clips out of the store, written into a batch: training samples, and the test views of videos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from threading import Lock

import numpy as np

from flow_extract.store import StoreEntry
from twostream.data.sampling import num_positions, random_in_segments, snippet_indices
from twostream.data.shared_pictures import SharedPictures
from twostream.data.stored import StoredVideo
from twostream.inference.protocols import Protocol
from twostream.transforms.augmentation import Augmentation, augment_, draw_view
from twostream.transforms.boxes import View
from twostream.transforms.clips import Clip, resize_picture, write_views
from twostream.transforms.presets import Modality

Pictures = Callable[[Sequence[int]], Iterable[Clip]]  # rising indices -> (H, W, C) each


def sample_shape(modality: Modality, *, num_segments: int, size: int) -> tuple[int, ...]:
    """Shape of a training sample, (S, T, C, size, size).

    T is 1 RGB frame with C = 3, or L flow pairs with C = 2 (u, v).
    """
    return num_segments, modality.snippet_length, modality.channels, size, size


def write_sample(
    video: StoredVideo,
    modality: Modality,
    out: Clip,
    *,
    num_segments: int,
    only: int = 0,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> None:
    """Write one random snippet of each segment to `out`, all of them augmented alike.

    Args:
        out: uint8 of `sample_shape`.
        only: from 1, leaves out all segments but this one (S of `out` is then 1); 0 takes all.
    """
    entry = StoreEntry(video.path)
    positions = num_positions(video.length, **modality.sampling)
    starts = random_in_segments(positions, num_segments, rng=rng)
    if only:
        starts = [starts[only - 1]]
    size = modality.frame_size or entry.size
    view = draw_view(*size, modality, augmentation, size=out.shape[-1], rng=rng)
    write_snippets(
        _scaled(partial(entry.pictures, modality.name), modality),
        snippet_indices(starts, length=video.length, **modality.sampling),
        [view],
        out[:, None],
        modality=modality,
    )
    augment_(out, modality, augmentation, rng=rng)


def views_shape(modality: Modality, protocol: Protocol, *, size: int) -> tuple[int, ...]:
    """Shape of the test views of a snippet, (R, T, C, side, side)."""
    side = protocol.side(size)
    return protocol.num_crops, modality.snippet_length, modality.channels, side, side


def views_writer(
    videos: Sequence[StoredVideo], modality: Modality, protocol: Protocol
) -> Callable[[tuple[int, int], Clip], None]:
    """Return what writes the views of (video index, number of the snippet) to `views_shape`.

    It may be called from several threads. Asked for in order, each picture of a video is decoded
    once, however many snippets and views show it.
    """

    @lru_cache(maxsize=2)  # the video at hand, and the next one
    def opened(index: int) -> tuple[Pictures, list[list[int]], list[View]]:
        entry, length = StoreEntry(videos[index].path), videos[index].length
        positions = num_positions(length, **modality.sampling)
        starts = protocol.starts(positions, protocol.num_snippets)
        snippets = snippet_indices(starts, length=length, **modality.sampling)
        pictures = _scaled(SharedPictures(entry, modality.name), modality)
        return pictures, snippets, protocol.views(*(modality.frame_size or entry.size))

    lock = Lock()

    def write(item: tuple[int, int], out: Clip) -> None:
        index, number = item
        with lock:  # else two threads may open a video at the same time
            pictures, snippets, views = opened(index)
        write_snippets(pictures, [snippets[number]], views, out[None], modality=modality)

    return write


def write_snippets(
    pictures: Pictures,
    snippets: Sequence[Sequence[int]],
    views: Sequence[View],
    out: Clip,
    *,
    modality: Modality,
) -> None:
    """Write the views of snippets to `out` (S, R, T, C, side, side), each picture decoded once.

    Args:
        pictures: indices, ascending, -> the picture (H, W, C) at each.
        snippets: T indices of each of the S snippets.
    """
    places = defaultdict(list)
    for s, snippet in enumerate(snippets):
        for t, index in enumerate(snippet):
            places[index].append((s, t))
    indices = sorted(places)
    for index, picture in zip(indices, pictures(indices), strict=True):
        (s, t), *others = places[index]
        write_views(picture, views, out[s, :, t], mirror=modality.mirror)
        for other_s, other_t in others:
            out[other_s, :, other_t] = out[s, :, t]


def _scaled(pictures: Pictures, modality: Modality) -> Pictures:
    """The same pictures in the size that the modality wants."""
    size = modality.frame_size
    if size is None:
        return pictures
    vectors = modality.name == "flow"
    return lambda indices: (resize_picture(p, size, vectors=vectors) for p in pictures(indices))
