"""The videos of a run, and the batches of its epochs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twostream.compute.device import seed_torch
from twostream.compute.distributed import rank, shard, world_size
from twostream.data.dataset import TrainingSamples
from twostream.data.holdout import split_training_videos, stratified_sample
from twostream.data.loader import LoadingTime, load_batches, split_into_batches
from twostream.data.splits import VideoRecord, read_split
from twostream.data.stored import Joined, StoredVideo, join_store
from twostream.data.training_videos import RunVideo
from twostream.training.distil import training_modality
from twostream.training.options import TrainOptions
from twostream.transforms.augmentation import CROPS, Augmentation
from twostream.transforms.clips import Clip
from twostream.transforms.presets import Modality
from twostream_base.errors import InputError

LEAST_SHARE = 2  # videos of a batch that a process needs: see split_into_batches


@dataclass(frozen=True, slots=True)
class RunData:
    """Videos of a run; `val` are those whose top-1 selects the epoch (the test ones on request)."""

    class_names: tuple[str, ...]
    train: Joined
    val: Joined
    test: Joined


def gather(options: TrainOptions) -> RunData:
    """Read the lists and join them with the store.

    The validation videos are those of the lists. Where these name none, they are drawn from the
    training videos at hand, whole groups at a time, and depend on the split alone: both streams of
    a split select on the same videos.

    Raises:
        InputError: wrong lists, or videos missing without --allow-missing.
    """
    split = read_split(options.dataset, options.annotations, split=options.split)
    subsets = {"train": split.train, "val": split.val, "test": split.test}
    if options.select == "test":  # nothing is held out: all else is learnt from
        subsets = {"train": split.train + split.val, "test": split.test}
    joined = {
        subset: join_store(
            records,
            Path(options.store),
            modality=training_modality(options) if subset == "train" else options.modality,
            allow_missing=options.allow_missing,
            use_damaged=options.use_damaged,
        )
        for subset, records in subsets.items()
        if records
    }
    train, test = joined["train"], joined["test"]
    if options.modality.sees_flow and any(part.flow != test.flow for part in joined.values()):
        raise InputError(
            f"{options.store} holds train and test videos of different flow settings; "
            "run `twostream extract-flow` to make them alike"
        )
    if options.select == "test":
        return RunData(split.class_names, train, val=test, test=test)
    if "val" in joined:
        return RunData(split.class_names, train, val=joined["val"], test=test)
    train, val = split_training_videos(train, split=options.split, fraction=options.val_fraction)
    if options.teacher:  # flow, which it is trained on too, has fewer positions than frames
        seen = join_store(
            [video.record for video in val.videos],
            Path(options.store),
            modality=options.modality,
            use_damaged=options.use_damaged,
        )
        val = replace(val, videos=seen.videos)
    return RunData(split.class_names, train, val=val, test=test)


def run_videos(data: RunData, *, selects: bool) -> list[RunVideo]:
    """What the run folder keeps of the videos.

    Args:
        selects: whether `val` is a part of its own, not the test videos.
    """
    parts = {"train": data.train, "val": data.val, "test": data.test}
    if not selects:
        del parts["val"]
    return [
        RunVideo(
            video.record.name,
            data.class_names[video.record.label],
            "" if video.record.group == video.record.name else video.record.group,
            part,
            video.source,
        )
        for part, joined in parts.items()
        for video in joined.videos
    ]


def sample(joined: Joined, count: int, *, split: int) -> Joined:
    """`count` of the videos (0: all), as many of each class, the same in every run of a split."""
    records = sample_records([video.record for video in joined.videos], count, split=split)
    names = {record.name for record in records}
    return replace(joined, videos=[v for v in joined.videos if v.record.name in names])


def sample_records(records: Sequence[VideoRecord], count: int, *, split: int) -> list[VideoRecord]:
    """The records of those videos that `sample` takes."""
    labels = [record.label for record in records]
    indices = stratified_sample(labels, count or len(labels), rng=np.random.default_rng(split))
    return [records[index] for index in indices]


def plan_batches(options: TrainOptions, *, num_videos: int, epoch: int) -> list[list[int]]:
    """Video indices of each batch of an epoch, shuffled by (seed, epoch).

    Raises:
        InputError: a batch is too small to be shared by the processes of the run.
    """
    order = np.random.default_rng((options.seed, epoch)).permutation(num_videos).tolist()
    least = LEAST_SHARE * world_size()
    if min(options.batch_size, num_videos) < least and world_size() > 1:
        raise InputError(
            f"batches of {options.batch_size} out of {num_videos} videos are too few for "
            f"{world_size()} processes: each needs {LEAST_SHARE} videos of a batch. Give a "
            "--batch-size that is larger, or torchrun a smaller --nproc-per-node"
        )
    return split_into_batches(order, batch_size=options.batch_size, least=least)


def load_epoch(
    options: TrainOptions,
    videos: Sequence[StoredVideo],
    *,
    modality: Modality,
    epoch: int,
    skip: int,
    time: LoadingTime,
) -> tuple[Iterator[tuple[Tensor, list[int]]], int]:
    """The batches of an epoch after its first `skip`, and how many they are.

    A batch is the clips of this process's share and the indices of all its videos. A sample
    depends on (seed, epoch, index) alone. torch is seeded before each batch: dropout then depends
    on (seed, epoch, batch, rank) alone.

    Args:
        modality: what the clips show, see `training_modality`.
        time: is told what the samples take.
    """
    batches = plan_batches(options, num_videos=len(videos), epoch=epoch)[skip:]
    shares = [shard(batch) for batch in batches]
    clips = load_samples(options, videos, shares, modality=modality, epoch=epoch, time=time)
    return seeded(options, clips, batches, epoch=epoch, skip=skip), len(batches)


def seeded(
    options: TrainOptions,
    samples: Iterable[Tensor],
    batches: Sequence[list[int]],
    *,
    epoch: int,
    skip: int,
) -> Iterator[tuple[Tensor, list[int]]]:
    """Batches with the indices of their videos; torch is seeded before each, see `load_epoch`."""
    for number, (batch, clips) in enumerate(zip(batches, samples, strict=True), skip):
        seed_torch(options.seed, epoch, number, rank())
        yield clips, batch


def load_samples(
    options: TrainOptions,
    videos: Sequence[StoredVideo],
    batches: Sequence[Sequence[int]],
    *,
    modality: Modality,
    epoch: int,
    time: LoadingTime,
) -> Iterator[Tensor]:
    """The clips of some videos, (N, S, T, C, H, W) a batch, as they are drawn for an epoch."""
    samples = TrainingSamples(
        videos,
        modality,
        num_segments=options.num_segments,
        only_segment=options.train_segment,
        input_size=options.input_size,
        augmentation=Augmentation(
            CROPS[options.crop],
            options.flip,
            options.colour_jitter,
            options.rand_augment,
            (options.jitter[0], options.jitter[1]) if options.jitter else None,
        ),
    )

    def write(index: int, out: Clip) -> None:
        samples.write(index, out, rng=np.random.default_rng((options.seed, epoch, index)))

    loaded = load_batches(
        write,
        batches,
        shape=samples.shape,
        threads=options.threads,
        device=torch.device(options.device),
        time=time,
    )
    return (clips for clips, _ in loaded)
