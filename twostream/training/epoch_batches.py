"""The batches of one epoch: their order, what is drawn at random, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from twostream.compute.distributed import rank, shard, world_size
from twostream.data.dataset import TrainingSamples
from twostream.data.loader import load_batches, split_into_batches
from twostream.data.stored import StoredVideo
from twostream.training.options import TrainOptions
from twostream.transforms.augmentation import CROPS, Augmentation
from twostream.transforms.clips import Clip
from twostream_base.errors import InputError

LEAST_SHARE = 2  # videos of a batch that a process needs: see split_into_batches


def plan_batches(options: TrainOptions, *, num_videos: int, epoch: int) -> list[list[int]]:
    """Video indices of each batch of an epoch; their order derives from (seed, epoch).

    Raises:
        InputError: a batch cannot be dealt out to the processes of the run.
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
    options: TrainOptions, videos: Sequence[StoredVideo], *, epoch: int, skip: int
) -> tuple[Iterator[Any], int]:
    """The batches of an epoch after its first `skip`, and how many they are.

    Each comes as the clips of this process's share, and the indices of all its videos. A sample
    depends on (seed, epoch, index) alone. torch is seeded before each batch: dropout then depends
    on (seed, epoch, batch, rank) alone.
    """
    batches = plan_batches(options, num_videos=len(videos), epoch=epoch)[skip:]
    samples = TrainingSamples(
        videos,
        options.modality,
        num_segments=options.num_segments,
        only_segment=options.train_segment,
        input_size=options.input_size,
        augmentation=Augmentation(
            CROPS[options.crop], options.flip, options.colour_jitter, options.rand_augment
        ),
    )

    def write(index: int, out: Clip) -> None:
        samples.write(index, out, rng=np.random.default_rng((options.seed, epoch, index)))

    loaded = load_batches(
        write,
        [shard(batch) for batch in batches],
        shape=samples.shape,
        threads=options.threads,
        device=torch.device(options.device),
    )
    whole = ((clips, batch) for (clips, _), batch in zip(loaded, batches, strict=True))
    return _seeded(whole, options.seed, epoch, first=skip), len(batches)


def _seeded(batches: Iterator[Any], seed: int, epoch: int, *, first: int) -> Iterator[Any]:
    for number, batch in enumerate(batches, first):
        words = np.random.SeedSequence((seed, epoch, number, rank())).generate_state(1)
        torch.manual_seed(int(words[0]))
        yield batch
