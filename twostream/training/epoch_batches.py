"""The batches of one epoch: their order, what is drawn at random, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from twostream.data.dataset import training_sample
from twostream.data.loader import load_batches, split_into_batches
from twostream.data.stored import StoredVideo
from twostream.training.run_folder import TrainOptions
from twostream.transforms.clips import Clip
from twostream.transforms.presets import MODALITIES


def plan_batches(options: TrainOptions, *, num_videos: int, epoch: int) -> list[list[int]]:
    """Video indices of each batch of an epoch; their order derives from (seed, epoch)."""
    order = np.random.default_rng((options.seed, epoch)).permutation(num_videos).tolist()
    return split_into_batches(order, batch_size=options.batch_size)


def sample_loader(
    options: TrainOptions, videos: Sequence[StoredVideo], *, epoch: int
) -> Callable[[int], Clip]:
    """Video index -> its training sample; what it draws derives from (seed, epoch, index)."""

    def load(index: int) -> Clip:
        rng = np.random.default_rng((options.seed, epoch, index))
        return training_sample(
            videos[index],
            MODALITIES[options.stream],
            num_segments=options.num_segments,
            size=options.input_size,
            rng=rng,
        )

    return load


def load_epoch(
    options: TrainOptions, videos: Sequence[StoredVideo], *, epoch: int, skip: int
) -> tuple[Iterator[Any], int]:
    """The batches of an epoch after its first `skip`, and how many they are.

    torch is seeded before each batch: dropout then depends on (seed, epoch, batch) alone.
    """
    batches = plan_batches(options, num_videos=len(videos), epoch=epoch)[skip:]
    load = sample_loader(options, videos, epoch=epoch)
    loaded = load_batches(load, batches, threads=options.threads)
    return _seeded(loaded, options.seed, epoch, first=skip), len(batches)


def _seeded(batches: Iterator[Any], seed: int, epoch: int, *, first: int) -> Iterator[Any]:
    for number, batch in enumerate(batches, first):
        torch.manual_seed(int(np.random.SeedSequence((seed, epoch, number)).generate_state(1)[0]))
        yield batch
