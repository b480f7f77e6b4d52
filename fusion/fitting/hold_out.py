"""Held-out videos: grouped folds, which keep a scene, film or source together, and validation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from fusion.combining.inputs import FusionInputs, FusionOptions
from fusion.tables.groups import video_groups
from fusion.tables.join import JoinedTables
from fusion.tables.score_file import ScoreTable, read_scores
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


def find_folds(joined: JoinedTables, *, count: int) -> np.ndarray:
    """The fold 0..count-1 of each joined video, whole groups at a time.

    Raises:
        InputError: groups that are not known, or too few of them.
    """
    first = next(iter(joined.tables.values()))
    dataset = str(first.metadata.get("dataset") or "") or None
    groups = joined.groups or video_groups(joined.names, dataset=dataset)
    return grouped_folds(groups, joined.labels, count=count)


def labels_in_folds(subset: object, groups: Sequence[str] | None) -> str:
    """What was fitted in folds of these videos saw: as files and results say it.

    Args:
        subset: of the videos, where it is known.
        groups: of the folds, where they are known.
    """
    labels = f"{subset} labels" if subset else "labels of these videos"
    alone = groups is not None and len(set(groups)) == len(groups)
    return f"{labels}, in {'folds of single videos' if alone else 'group folds'}"


def read_validation_scores(inputs: FusionInputs, options: FusionOptions) -> dict[str, ScoreTable]:
    """The validation scores of each stream: the files of --val in order, or those next to its own.

    Raises:
        InputError: another number of files, one that is missing, or of another stream.
    """
    if options.val and len(options.val) != len(inputs.files):
        raise InputError(
            f"--val was given {len(options.val)} times for {len(inputs.files)} inputs; give it "
            "once for each input"
        )
    paths = {key: files[0].with_name("val.safetensors") for key, files in inputs.files.items()}
    if options.val:
        paths = dict(zip(inputs.files, options.val, strict=True))
    tables = {}
    for key, path in paths.items():
        if not path.exists():
            raise InputError(f"no validation scores of {key} at {path}; name them with --val FILE")
        tables[key] = read_scores(path)
        expected = inputs.joined.tables[key].metadata
        for fact in ("stream", "dataset", "split"):
            here, there = expected.get(fact), tables[key].metadata.get(fact)
            if here is not None and there is not None and here != there:
                raise InputError(f"{path}: {fact} {there}, but the scores of {key} are of {here}")
    return tables
