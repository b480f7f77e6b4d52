"""A part of many videos that looks like the whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np


def stratified(labels: Sequence[int], count: int, *, rng: np.random.Generator) -> list[int]:
    """Draw `count` indices (all, if there are no more), in rising order.

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
