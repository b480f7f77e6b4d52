"""Grouped folds: videos that were cut from one scene, film or source are never parted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from twostream_base.errors import InputError


def grouped_folds(groups: Sequence[str], labels: np.ndarray, *, count: int = 5) -> np.ndarray:
    """The fold 0..count-1 of each video, int64 (V,); no group is split, and classes are spread.

    Groups are taken by size, largest first; each goes where its classes are rarest so far. The
    order of the videos has no effect.

    Raises:
        InputError: fewer groups than folds, or fewer than 2 folds.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for video, group in enumerate(groups):
        members[group].append(video)
    if not 2 <= count <= len(members):
        raise InputError(f"{count} folds of {len(members)} groups; allowed: 2..{len(members)}")
    folds = np.empty(len(groups), dtype=np.int64)
    counts = np.zeros((count, int(labels.max(initial=0)) + 2), dtype=np.int64)  # labels may be -1
    for group in sorted(members, key=lambda group: (-len(members[group]), group)):
        added = np.bincount(labels[members[group]] + 1, minlength=counts.shape[1])
        crowding = counts @ added
        fold = min(range(count), key=lambda fold: (crowding[fold], counts[fold].sum(), fold))
        counts[fold] += added
        folds[members[group]] = fold
    return folds


def labels_in_folds(subset: object, groups: Sequence[str] | None) -> str:
    """What was fitted in folds of these videos saw: as files and results say it.

    Args:
        subset: of the videos, where it is known.
        groups: of the folds, where they are known.
    """
    labels = f"{subset} labels" if subset else "labels of these videos"
    alone = groups is not None and len(set(groups)) == len(groups)
    return f"{labels}, in {'folds of single videos' if alone else 'group folds'}"
