"""Clips out of a store: training samples, the test views of a protocol, and a torch data set."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from twostream.data.protocols import Protocol, find_protocol, random_snippets, snippet_indices
from twostream.data.splits import Split
from twostream.data.stored import StoredVideo, join_store
from twostream.transforms.augmentation import Augmentation, augment_, draw_view
from twostream.transforms.clips import Clip, View, resize_picture, stretch_vectors_, write_views
from twostream.transforms.presets import MODALITIES, Modality
from twostream_base.errors import InputError

# Neighbouring snippets share pictures, so only the latest are cached.
CACHED_BYTES = 16 << 20
CACHED_AT_LEAST = 32

# `rgb` or `flow`, rising indices -> (H, W, C) each
Pictures = Callable[[str, Sequence[int]], Iterable[Clip]]


class VideoDataset(Dataset[tuple[Tensor, int]]):
    """The videos of a split as `(clip, label)`, for `torch.utils.data.DataLoader`.

    A clip is uint8 (S, T, C, H, W): S snippets of T frames (C = 3) or flow pairs (C = 2: u, v), or
    of both, their channels after one another, as `SegmentNetwork` takes a batch of them; it
    normalises them itself. Training takes one random snippet of each segment, all of them cropped,
    mirrored and augmented alike. Testing takes the views of a protocol: the R crops of each snippet
    follow one another, so S is snippets times R.

        split = read_split("ucf101", "ucfTrainTestlist", split=1)
        training = VideoDataset("flow-store", split, stream="motion")
        for clips, labels in DataLoader(training, batch_size=32, shuffle=True, num_workers=4): ...

    Args:
        store: folder that `twostream extract-flow` wrote.
        stream: key of MODALITIES (`spatial`, `motion`, `difference`, `joint`), or a Modality, such
            as `network.modality`, what a network sees.
        train: random samples of `split.train`; False: test views of `split.test`.
        num_segments: S of a training clip.
        input_size: side of a training clip, pixels; the protocol scales it for its views.
        clip_length, frame_interval: T, and the step from one frame to the next, where they differ
            from the stream's own (an interval of 0 spreads them over the video).
        protocol: as `find_protocol` takes it, such as `segments:8`, or a Protocol.
        seed: None draws from torch's random numbers, like torchvision's transforms. With a number
            a sample depends on (seed, epoch, index) alone, whatever the number of workers: call
            `set_epoch` before each epoch.
        allow_missing: go on without videos that the store lacks; `missing` names them.
        use_damaged: take the readable part of damaged videos.

    Attributes:
        names, labels: of the videos, in the order of the list.
        class_names: position = label.
        missing: name -> why it is left out.

    Raises:
        InputError: videos are missing, the store mixes settings, or `clip_length` or
            `frame_interval` do not go with the flow pairs beside each frame of a joint snippet.
    """

    def __init__(
        self,
        store: str | os.PathLike[str],
        split: Split,
        stream: str | Modality = "motion",
        train: bool = True,
        *,
        num_segments: int = 3,
        input_size: int = 224,
        clip_length: int | None = None,
        frame_interval: int | None = None,
        augmentation: Augmentation | None = None,
        protocol: str | Protocol = "clips19",
        seed: int | None = None,
        allow_missing: bool = False,
        use_damaged: bool = False,
    ) -> None:
        modality = MODALITIES[stream] if isinstance(stream, str) else stream
        clip = modality.sampling
        length = clip["snippet_length"] if clip_length is None else clip_length
        interval = clip["interval"] if frame_interval is None else frame_interval
        stack = clip.get("stack", 1)
        if modality.parts and (length % stack or (stack == length and interval != 1)):
            raise InputError(
                f"clip_length {length}, frame_interval {interval}: the joint snippets are of "
                f"{stack} neighbouring flow pairs beside each frame; give what the network sees, "
                "as in VideoDataset(store, split, network.modality)"
            )
        self.modality = modality.of_clips(
            clip_length=length, frame_interval=interval, frame_size=modality.frame_size, stack=stack
        )
        joined = join_store(
            split.train if train else split.test,
            Path(store),
            modality=self.modality,
            allow_missing=allow_missing,
            use_damaged=use_damaged,
        )
        self.videos, self.missing = joined.videos, joined.missing
        self.class_names = split.class_names
        self.names = [video.record.name for video in self.videos]
        self.labels = [video.record.label for video in self.videos]
        self.train, self.input_size, self.seed = train, input_size, seed
        self.samples = TrainingSamples(
            self.videos,
            self.modality,
            num_segments=num_segments,
            input_size=input_size,
            augmentation=augmentation or Augmentation(),
        )
        self.protocol = find_protocol(protocol)
        # In shared memory: workers that live on from epoch to epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        index = range(len(self))[index]
        if self.train:
            clip = np.empty(self.samples.shape, np.uint8)
            key = (
                int(torch.randint(2**62, ()))
                if self.seed is None
                else (self.seed, int(self._epoch), index)
            )
            self.samples.write(index, clip, rng=np.random.default_rng(key))
        else:
            views = views_of_entry(
                self.videos[index], self.modality, self.protocol, size=self.input_size
            )
            clip = views.reshape(-1, *views.shape[2:])
        return torch.from_numpy(clip), self.labels[index]

    def set_epoch(self, epoch: int) -> None:
        """Draw other samples from now on, where `seed` is given; epochs count from 0."""
        self._epoch.fill_(epoch)


@dataclass(frozen=True)
class TrainingSamples:
    """Random samples of videos (TSN: Wang et al., ECCV 2016): a snippet of each segment, augmented.

    Attributes:
        num_segments: S.
        input_size: side of a sample, pixels.
        only_segment: from 1, leaves out all segments but this one; 0 takes all.
    """

    videos: Sequence[StoredVideo]
    modality: Modality
    num_segments: int
    input_size: int
    augmentation: Augmentation
    only_segment: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """(S, T, C, size, size) of a sample; S is 1 with `only_segment`.

        T is 1 RGB frame with C = 3, or L flow pairs with C = 2 (u, v); of both, 1 with C = 3 + 2 L.
        """
        segments = 1 if self.only_segment else self.num_segments
        return segments, *self.modality.snippet_shape(self.input_size)

    def write(self, index: int, out: Clip, *, rng: np.random.Generator) -> None:
        """Write a sample of video `index` to `out`, uint8 of `shape`; all segments alike."""
        video, modality = self.videos[index], self.modality
        entry = video.open()
        snippets = random_snippets(video.length, self.num_segments, rng=rng, **modality.sampling)
        if self.only_segment:
            snippets = [snippets[self.only_segment - 1]]
        size = modality.frame_size or entry.size
        view = draw_view(*size, modality, self.augmentation, size=out.shape[-1], rng=rng)
        write_snippets(
            resized_pictures(entry.pictures, modality),
            snippets,
            [view],
            out[:, None],
            modality=modality,
        )
        if self.augmentation.jitter:
            factor = out.shape[-1] / view.box.height
            for part, pictures in modality.split(out):
                if part.name == "flow":
                    stretch_vectors_(pictures, (factor, factor))
        augment_(out, modality, self.augmentation, rng=rng)


def views_shape(modality: Modality, protocol: Protocol, *, size: int) -> tuple[int, ...]:
    """Shape of the test views of a snippet, (R, T, C, side, side)."""
    return protocol.num_crops, *modality.snippet_shape(protocol.side(size))


def plan_views(
    modality: Modality, protocol: Protocol, *, length: int, frame_size: tuple[int, int]
) -> tuple[list[list[int]], list[View]]:
    """The T indices of each of the S snippets of a video, and the R views of each."""
    starts = protocol.snippet_starts(length, **modality.sampling)
    snippets = snippet_indices(starts, length=length, **modality.sampling)
    return snippets, protocol.views(*(modality.frame_size or frame_size))


def read_views(
    pictures: Pictures,
    modality: Modality,
    protocol: Protocol,
    *,
    length: int,
    frame_size: tuple[int, int],
    size: int,
) -> Clip:
    """All test views of a video, uint8 (S, R, T, C, side, side).

    Args:
        length: number of pictures.
        frame_size: their height and width.
        size: side that the network was trained with, pixels; the protocol scales it.
    """
    snippets, views = plan_views(modality, protocol, length=length, frame_size=frame_size)
    out = np.empty((len(snippets), *views_shape(modality, protocol, size=size)), np.uint8)
    write_snippets(resized_pictures(pictures, modality), snippets, views, out, modality=modality)
    return out


def views_of_entry(
    video: StoredVideo, modality: Modality, protocol: Protocol, *, size: int
) -> Clip:
    """All test views of a stored video: see `read_views`."""
    entry = video.open()
    return read_views(
        entry.pictures, modality, protocol, length=video.length, frame_size=entry.size, size=size
    )


class ViewWriter:
    """Writes the test views of one snippet at a time, so that not all need be in memory at once.

    It may be called from several threads. Asked for in order, each picture of a video is decoded
    once, however many snippets and views show it.
    """

    def __init__(
        self, videos: Sequence[StoredVideo], modality: Modality, protocol: Protocol
    ) -> None:
        self.modality = modality
        self._lock = Lock()

        @lru_cache(maxsize=2)  # the current video, and the next one
        def open_video(index: int) -> tuple[Pictures, list[list[int]], list[View]]:
            entry = videos[index].open()
            pictures = resized_pictures(SharedPictures(entry), modality)
            length = videos[index].length
            return pictures, *plan_views(modality, protocol, length=length, frame_size=entry.size)

        self._open = open_video

    def write(self, item: tuple[int, int], out: Clip) -> None:
        """Write the views of (video index, number of the snippet) to `out` of `views_shape`."""
        index, number = item
        with self._lock:  # else two threads may open a video at the same time
            pictures, snippets, views = self._open(index)
        write_snippets(pictures, [snippets[number]], views, out[None], modality=self.modality)


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
        snippets: the indices of each of the S snippets, as `Modality.sampling` gives them.
    """
    by_part = zip(*map(modality.split_snippet, snippets), strict=True)
    for (part, place), of_part in zip(modality.split(out), by_part, strict=True):
        stack = place.shape[3]
        places = defaultdict(list)
        for s, snippet in enumerate(of_part):
            for i, index in enumerate(snippet):
                places[index].append((s, slice(None), i // stack, i % stack))
        indices = sorted(places)
        for index, picture in zip(indices, pictures(part.name, indices), strict=True):
            first, *others = places[index]
            write_views(picture, views, place[first], mirror=part.mirror)
            for other in others:
                place[other] = place[first]


def resized_pictures(pictures: Pictures, modality: Modality) -> Pictures:
    """The same pictures in the size that the modality wants."""
    size = modality.frame_size
    if size is None:
        return pictures
    return lambda key, indices: (
        resize_picture(picture, size, vectors=key == "flow") for picture in pictures(key, indices)
    )


class PictureSource(Interface):
    """Where the pictures of a video come from: a store file, or what is held of it in memory."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""

    def pictures(self, key: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Decode pictures of `rgb` or `flow`, as `StoreEntry.pictures` does."""


class SharedPictures:
    """The pictures of one video for several threads, each decoded once.

    Called like `StoreEntry.pictures`, from any thread; caches the latest 16 MiB of pictures.
    """

    def __init__(self, entry: PictureSource) -> None:
        self._entry = entry
        height, width = entry.size
        self._most = max(CACHED_AT_LEAST, CACHED_BYTES // (3 * height * width))
        self._lock = Lock()
        self._cache: dict[tuple[str, int], Future[Clip]] = {}

    def __call__(self, key: str, indices: Sequence[int]) -> Iterator[Clip]:
        """Yield the pictures at `indices`, which must differ, and must not be written to.

        Args:
            key: `rgb` or `flow`.
        """
        with self._lock:
            new: dict[int, Future[Clip]] = {
                i: Future() for i in indices if (key, i) not in self._cache
            }
            self._cache |= {(key, index): promise for index, promise in new.items()}
            pictures = [self._cache[key, index] for index in indices]
            for oldest in list(self._cache)[: -self._most]:
                del self._cache[oldest]
        try:  # fulfil what this call has promised; other calls wait for it
            decoded = self._entry.pictures(key, list(new))
            for promise, picture in zip(new.values(), decoded, strict=True):
                promise.set_result(picture)
        except BaseException as error:
            for promise in new.values():
                if not promise.done():
                    promise.set_exception(error)
            raise
        for future in pictures:
            yield future.result()
