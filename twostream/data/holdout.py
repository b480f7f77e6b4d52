"""Train/validation splits that keep groups (scenes, films) together; stratified subsampling."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from twostream.data.splits import VideoRecord
from twostream.data.stored import Joined
from twostream_base.errors import InputError


def hold_out(
    records: Sequence[VideoRecord],
    *,
    fraction: float,
    rng: np.random.Generator,
    known: Mapping[str, bool] | None = None,
) -> tuple[list[VideoRecord], list[VideoRecord]]:
    """Split `records` into (training, held out), whole groups at a time: a grouped split by class.

    Groups are drawn at random until `fraction` of a class (at least one video) is held out; a
    group that would take the last training video of any class stays in training. So a class with
    one group only is never held out.

    Args:
        known: groups that stay where they are: True for held out. They count in the fraction.

    Raises:
        InputError: no group can be held out at all, and none is known.
    """
    known = known or {}
    members: dict[str, list[VideoRecord]] = defaultdict(list)
    groups_of: dict[int, set[str]] = defaultdict(set)
    for record in records:
        members[record.group].append(record)
        groups_of[record.label].add(record.group)
    remaining = Counter(record.label for record in records)
    held_out: Counter[int] = Counter()
    held_groups = {group for group in members if known.get(group)}
    for group in held_groups:
        sizes = Counter(record.label for record in members[group])
        remaining.subtract(sizes)
        held_out += sizes
    for label in sorted(remaining):
        target = max(1, round(fraction * (remaining[label] + held_out[label])))
        groups = sorted(groups_of[label])
        for index in rng.permutation(len(groups)):
            if held_out[label] >= target:
                break
            group = groups[index]
            sizes = Counter(record.label for record in members[group])
            if group in held_groups or group in known:
                continue
            if all(remaining[c] > n for c, n in sizes.items()):
                held_groups.add(group)
                remaining.subtract(sizes)
                held_out += sizes
    if not (held_groups or known):
        raise InputError(
            f"no hold-out is possible: each class of these {len(records)} videos has one group "
            "only. Add videos from other scenes, or give --select test"
        )
    return (
        [record for record in records if record.group not in held_groups],
        [record for record in records if record.group in held_groups],
    )


def split_training_videos(train: Joined, *, split: int, fraction: float) -> tuple[Joined, Joined]:
    """Split the training videos at hand into those to learn from and those held out.

    Whole groups at a time; the draw depends on the number of the split alone.
    """
    records = [video.record for video in train.videos]
    train_records, val_records = hold_out(
        records, fraction=fraction, rng=np.random.default_rng(split)
    )

    def part(records: Sequence[VideoRecord]) -> Joined:
        names = {record.name for record in records}
        return replace(train, videos=[v for v in train.videos if v.record.name in names])

    return part(train_records), part(val_records)


def stratified_sample(labels: Sequence[int], count: int, *, rng: np.random.Generator) -> list[int]:
    """Draw `count` indices (all, if there are no more), stratified by class, in rising order.

    The classes take turns, each giving a random video that it has left: their numbers differ by
    one at most, but for classes that have no more to give.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index in rng.permutation(len(labels)):
        members[labels[index]].append(int(index))
    turns = [
        (turn, order, index)
        for order, label in enumerate(members)
        for turn, index in enumerate(members[label])
    ]
    return sorted(index for _, _, index in sorted(turns)[:count])
