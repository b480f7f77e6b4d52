"""Which videos something is fitted on: validation scores, or grouped folds of the file itself."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fusion.combining.fuse import Fusion
from fusion.combining.inputs import FusionInputs, FusionOptions, ScoreFiles
from fusion.combining.step import MEAN
from fusion.fitting.calibration import (
    CALIBRATIONS,
    CalibratedTables,
    calibrate_in_folds,
    calibrate_on,
)
from fusion.fitting.learned_fusion import LEARNERS, fuse_by_learning
from fusion.tables.score_file import ScoreTable, read_scores
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text
from twostream_base.video_names import hmdb51_group, ucf101_group

GROUPINGS: dict[str, Callable[[str], str | None]] = {
    "ucf101": ucf101_group,
    "hmdb51": hmdb51_group,
    "video": lambda name: name,
}


def video_groups(
    names: Sequence[str], how: str | None = None, *, dataset: str | None = None
) -> list[str]:
    """The group of each video: its scene, film or source.

    Args:
        how: a name of `GROUPINGS` (by default that of the data set), a CSV file of lines
            `name,group`, or a regular expression whose brackets catch the group in a name.

    Raises:
        InputError: the groups are not known, or not for every video.
    """
    how = how or (dataset if dataset in GROUPINGS else None)
    if how is None:
        raise InputError(
            f"which videos belong together is not known (data set {dataset or 'not known'}): give "
            f"--groups {', '.join(GROUPINGS)}, a CSV file of lines name,group, or a pattern as "
            "'_(g[0-9]+)_'; `video` where each video is a group of its own"
        )
    group_of: Callable[[str], str | None]
    if how in GROUPINGS:
        group_of = GROUPINGS[how]
    elif how.endswith(".csv"):
        group_of = _read_groups(Path(how)).get
    else:
        try:
            pattern = re.compile(how)
        except re.error as error:
            raise InputError(f"--groups {how!r}: not a regular expression ({error})") from None

        def group_of(name: str) -> str | None:
            match = pattern.search(name)
            return "|".join(match.groups(default="") or (match[0],)) if match else None

    groups = [group_of(name) for name in names]
    if missing := [name for name, group in zip(names, groups, strict=True) if group is None]:
        raise InputError(
            f"--groups {how}: no group for {len(missing)} of {len(names)} videos: "
            f"{some_of(missing)}"
        )
    return [group for group in groups if group is not None]


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


def find_folds(inputs: FusionInputs, options: FusionOptions) -> np.ndarray:
    """The fold of each joined video.

    Raises:
        InputError: groups that are not known, too few of them, or no labels.
    """
    groups = video_groups(inputs.joined.names, options.groups, dataset=_dataset(inputs))
    return grouped_folds(groups, inputs.joined.labels, count=options.folds)


def known_groups(inputs: FusionInputs, options: FusionOptions) -> list[str] | None:
    """The group of each joined video; None where neither --groups nor the data set tells it."""
    dataset = _dataset(inputs)
    if options.groups is None and dataset not in GROUPINGS:
        return None
    return video_groups(inputs.joined.names, options.groups, dataset=dataset)


def read_validation_scores(inputs: FusionInputs, options: FusionOptions) -> dict[str, ScoreTable]:
    """The validation scores of each stream: the files of --val in order, or those next to its own.

    Raises:
        InputError: another number of files, one that is missing, or of another stream.
    """
    paths = _validation_files(inputs.files, options.val)
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


def calibrate_inputs(inputs: FusionInputs, options: FusionOptions) -> CalibratedTables:
    """Calibrate the streams on validation scores or in folds, as --calibrate says."""
    fit = CALIBRATIONS[options.calibration]
    if options.calibrate == "val":
        return calibrate_on(inputs.joined, read_validation_scores(inputs, options), fit=fit)
    return calibrate_in_folds(inputs.joined, find_folds(inputs, options), fit=fit)


def fuse_inputs_by_learning(inputs: FusionInputs, options: FusionOptions) -> Fusion:
    """Fuse by the learner of --learn.

    Raises:
        InputError: options that have no effect with --learn, or what `fuse_by_learning` refuses.
    """
    if options.calibrate != "none":
        raise InputError("--learn fits temperatures itself; leave out --calibrate")
    steps = inputs.steps
    if (steps.crops, steps.segments, steps.streams) != (MEAN, MEAN, MEAN) or options.combine:
        raise InputError(
            "--learn fuses the streams by what it learns from their mean logits; leave out "
            "--strategy, --segments, --crops and --combine"
        )
    learner = LEARNERS[options.learn]
    if options.learn_on == "val":
        others = read_validation_scores(inputs, options)
        return fuse_by_learning(inputs.joined, learner, name=options.learn, others=others)
    folds = find_folds(inputs, options)
    return fuse_by_learning(inputs.joined, learner, name=options.learn, folds=folds)


def _validation_files(files: ScoreFiles, val: Sequence[Path]) -> dict[str, Path]:
    if val and len(val) != len(files):
        raise InputError(
            f"--val was given {len(val)} times for {len(files)} inputs; give it once for each input"
        )
    if val:
        return dict(zip(files, val, strict=True))
    return {key: paths[0].with_name("val.safetensors") for key, paths in files.items()}


def _dataset(inputs: FusionInputs) -> str | None:
    first = next(iter(inputs.joined.tables.values()))
    return first.metadata.get("dataset")


def _read_groups(path: Path) -> dict[str, str]:
    """Groups by video name, of a CSV file of lines `name,group`."""
    rows = [row for row in csv.reader(io.StringIO(read_text(path))) if row]
    if malformed := [",".join(row) for row in rows if len(row) != 2]:
        raise InputError(f"{path}: expected lines name,group; not so: {some_of(malformed)}")
    if doubled := [name for name, times in Counter(name for name, _ in rows).items() if times > 1]:
        raise InputError(f"{path}: more than once: {some_of(doubled)}")
    return dict(rows)
