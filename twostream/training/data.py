"""The videos of a run: what to learn from, what to select the epoch on, what to test on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from twostream.data.holdout import split_training_videos, stratified_sample
from twostream.data.splits import read_split
from twostream.data.stored import Joined, join_store
from twostream.training.options import TrainOptions
from twostream_base.errors import InputError


@dataclass(frozen=True, slots=True)
class RunData:
    """Videos of a run; `val` are those whose top-1 selects the epoch (the test ones on request)."""

    class_names: tuple[str, ...]
    train: Joined
    val: Joined
    test: Joined

    @property
    def flow(self) -> dict[str, Any]:
        """Method and bound of the flow, the same for all videos."""
        return self.train.flow

    @property
    def extraction(self) -> dict[str, Any]:
        """All settings by which frames and flow were made, the same for all videos."""
        return self.train.extraction


def gather(options: TrainOptions) -> RunData:
    """Read the lists and join them with the store.

    The hold-out is drawn from the videos at hand, whole groups at a time, and depends on the split
    alone: both streams of a split select on the same videos.

    Raises:
        InputError: wrong lists, or videos missing without --allow-missing.
    """
    split = read_split(options.dataset, options.annotations, split=options.split)
    train, test = (
        join_store(
            split.subset(subset),
            Path(options.store),
            modality=options.modality,
            allow_missing=options.allow_missing,
            use_damaged=options.use_damaged,
        )
        for subset in ("train", "test")
    )
    if train.flow != test.flow:
        raise InputError(
            f"{options.store} holds train and test videos of different flow settings; "
            "run `twostream extract-flow` to make them alike"
        )
    if options.select == "test":
        return RunData(split.class_names, train, val=test, test=test)
    kept, held = split_training_videos(train, split=options.split, fraction=options.val_fraction)
    return RunData(split.class_names, kept, val=held, test=test)


def sample(joined: Joined, count: int, *, split: int) -> Joined:
    """`count` of the videos (0: all), as many of each class, the same in every run of a split."""
    labels = [video.record.label for video in joined.videos]
    chosen = stratified_sample(labels, count or len(labels), rng=np.random.default_rng(split))
    return replace(joined, videos=[joined.videos[index] for index in chosen])
