"""Clips out of the store: one training sample, or all test views of one video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flow_extract.store import StoreEntry
from twostream.data.sampling import num_positions, random_in_segments, snippet_indices
from twostream.data.stored import StoredVideo
from twostream.inference.protocols import Protocol
from twostream.transforms.augmentation import Augmentation, augment
from twostream.transforms.clips import Clip, crop_and_resize
from twostream.transforms.presets import Modality


def training_sample(
    video: StoredVideo,
    modality: Modality,
    *,
    num_segments: int,
    only: int = 0,
    size: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Clip:
    """One random snippet of each segment, cropped and mirrored alike: uint8 (S, T, C, size, size).

    T is 1 RGB frame with C = 3, or L flow pairs with C = 2 (u, v). `only`, from 1, leaves out all
    segments but this one (S is then 1); 0 takes all.
    """
    positions = num_positions(video.length, snippet_length=modality.snippet_length)
    starts = random_in_segments(positions, num_segments, rng=rng)
    if only:
        starts = [starts[only - 1]]
    clip = augment(
        read_snippets(video, modality, starts), modality, augmentation, size=size, rng=rng
    )
    return _channels_first(clip)


def test_views(video: StoredVideo, modality: Modality, protocol: Protocol, *, size: int) -> Clip:
    """All views of a video under a protocol: uint8 (S, R, T, C, side, side).

    The side is `size` times the protocol's scale.
    """
    positions = num_positions(video.length, snippet_length=modality.snippet_length)
    clip = read_snippets(video, modality, protocol.starts(positions, protocol.num_snippets))
    side = round(size * protocol.scale)
    crops = []
    for box, flip in protocol.views(*clip.shape[-3:-1]):
        crop = crop_and_resize(clip, box, size=side)
        crops.append(modality.flip(crop) if flip else crop)
    return _channels_first(np.stack(crops, axis=1))


def read_snippets(video: StoredVideo, modality: Modality, starts: Sequence[int]) -> Clip:
    """Read the snippets that begin at `starts`: uint8 (S, T, H, W, C), each frame decoded once."""
    entry = StoreEntry(video.path)
    snippets = snippet_indices(starts, snippet_length=modality.snippet_length, length=video.length)
    if modality.name == "flow":
        return np.stack([_read_stack(entry, snippet) for snippet in snippets])
    distinct, places = np.unique(snippets, return_inverse=True)
    return entry.read_rgb(distinct.tolist())[places.reshape(len(starts), -1)]


def _read_stack(entry: StoreEntry, indices: list[int]) -> Clip:
    """One read of neighbouring pairs; where the video ends early its last pair repeats."""
    first, last = indices[0], indices[-1]
    return entry.read_flow(first, last - first + 1)[np.array(indices) - first]


def _channels_first(clip: Clip) -> Clip:
    return np.ascontiguousarray(np.moveaxis(clip, -1, -3))
