"""The data of a sequence run: its lists and vocabulary, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twostream.sequence.batches import Batch, eval_clip, load_sequences, train_clip
from twostream.sequence.lists import SEQUENCE_DATASETS, check_lists
from twostream.sequence.records import SequenceLists, SequenceRecord
from twostream.sequence.run_folder import SequenceOptions
from twostream.sequence.vocabulary import build_vocabulary, glosses_to_labels
from twostream.transforms.clips import Clip
from twostream_base import plugins


@dataclass(frozen=True)
class SequenceData:
    """The videos and the vocabulary of a run.

    Attributes:
        lists: subset -> records. missing: names of listed videos without frames.
        vocabulary: class 0 is the blank, gloss g is class g + 1.
        targets: labels of the training videos.
    """

    lists: SequenceLists
    missing: list[str]
    vocabulary: tuple[str, ...]
    targets: list[list[int]]


def read_sequence_data(options: SequenceOptions) -> SequenceData:
    """Read the lists and find the vocabulary.

    Raises:
        InputError: lists, frames or vocabulary are missing or do not fit.
    """
    read = plugins.load(options.dataset, SEQUENCE_DATASETS)
    lists, missing = check_lists(
        read(Path(options.annotations), Path(options.videos)), allow_missing=options.allow_missing
    )
    file = Path(options.vocabulary) if options.vocabulary else None
    vocabulary = build_vocabulary(lists["train"], file)
    targets = [glosses_to_labels(record.glosses, vocabulary) for record in lists["train"]]
    return SequenceData(lists, missing, vocabulary, targets)


def train_batches(
    records: Sequence[SequenceRecord], options: SequenceOptions, *, epoch: int
) -> tuple[Iterator[Batch], int]:
    """The batches of an epoch, shuffled by (seed, epoch), and their number; see `train_clip`."""

    def load(index: int) -> Clip:
        rng = np.random.default_rng((options.seed, epoch, index))
        return train_clip(
            records[index],
            stream=options.stream,
            side=options.frame_size,
            size=options.input_size,
            rng=rng,
        )

    order = np.random.default_rng((options.seed, epoch)).permutation(len(records)).tolist()
    batches = _split(order, options.batch_size)
    return load_sequences(load, batches, threads=options.threads), len(batches)


def eval_batches(
    records: Sequence[SequenceRecord],
    *,
    stream: str,
    side: int,
    size: int,
    batch_size: int,
    threads: int,
) -> tuple[Iterator[Batch], int]:
    """All videos in order, in batches, and the number of batches; see `eval_clip`."""

    def load(index: int) -> Clip:
        return eval_clip(records[index], stream=stream, side=side, size=size)

    batches = _split(list(range(len(records))), batch_size)
    return load_sequences(load, batches, threads=threads), len(batches)


def _split(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]
