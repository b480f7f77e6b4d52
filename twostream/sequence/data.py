"""The videos of a sequence run, its vocabulary, and how batches of them are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twostream import plugins
from twostream.sequence.batches import Batch, load_sequences, testing_clip, training_clip
from twostream.sequence.lists import SEQUENCE_DATASETS, check_lists
from twostream.sequence.records import SequenceLists, SequenceRecord
from twostream.sequence.run_folder import SequenceOptions
from twostream.sequence.vocabulary import find_vocabulary, labels_of
from twostream.transforms.clips import Clip


@dataclass(frozen=True)
class SequenceData:
    """What a run learns from, and how it is measured.

    Attributes:
        lists: subset -> records. missing: names of listed videos without frames.
        vocabulary: class 0 is the blank, gloss g is class g + 1.
        targets: labels of the training videos.
    """

    lists: SequenceLists
    missing: list[str]
    vocabulary: tuple[str, ...]
    targets: list[list[int]]


def gather_sequences(options: SequenceOptions) -> SequenceData:
    """Read the lists and find the vocabulary.

    Raises:
        InputError: lists, frames or vocabulary are not as they must be.
    """
    read = plugins.load(options.dataset, SEQUENCE_DATASETS)
    lists, missing = check_lists(
        read(Path(options.annotations), Path(options.videos)), allow_missing=options.allow_missing
    )
    file = Path(options.vocabulary) if options.vocabulary else None
    vocabulary = find_vocabulary(lists["train"], file)
    targets = [labels_of(record.glosses, vocabulary) for record in lists["train"]]
    return SequenceData(lists, missing, vocabulary, targets)


def training_batches(
    records: Sequence[SequenceRecord], options: SequenceOptions, *, epoch: int
) -> tuple[Iterator[Batch], int]:
    """One epoch in an order of its own, and how many batches it has; see `training_clip`."""

    def load(index: int) -> Clip:
        rng = np.random.default_rng((options.seed, epoch, index))
        return training_clip(
            records[index],
            stream=options.stream,
            side=options.frame_size,
            size=options.input_size,
            rng=rng,
        )

    order = np.random.default_rng((options.seed, epoch)).permutation(len(records)).tolist()
    batches = _cut(order, options.batch_size)
    return load_sequences(load, batches, threads=options.threads), len(batches)


def testing_batches(
    records: Sequence[SequenceRecord],
    *,
    stream: str,
    side: int,
    size: int,
    batch_size: int,
    threads: int,
) -> tuple[Iterator[Batch], int]:
    """All videos in their order, and how many batches they make; see `testing_clip`."""

    def load(index: int) -> Clip:
        return testing_clip(records[index], stream=stream, side=side, size=size)

    batches = _cut(list(range(len(records))), batch_size)
    return load_sequences(load, batches, threads=threads), len(batches)


def _cut(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]
