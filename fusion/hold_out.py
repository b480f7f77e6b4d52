"""On which videos something is fitted: validation scores, or grouped folds of the file itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusion.calibrated import Calibrated, calibrate_in_folds, calibrate_on
from fusion.calibration import CALIBRATIONS
from fusion.fuse import Fusion
from fusion.groups import GROUPINGS, grouped_folds, video_groups
from fusion.inputs import Input
from fusion.learned import LEARNERS
from fusion.learned_fusion import learned_fusion
from fusion.score_file import ScoreTable, read_scores
from fusion.step import MEAN, Step
from twostream.errors import InputError


@dataclass(frozen=True)
class HoldOutOptions:
    """The options of the command line that say on what to fit, as typed."""

    calibrate: str = "none"
    calibration: str = "temperature"
    learn: str = "none"
    learn_on: str = "crossfit"
    val: Sequence[Path] = ()
    groups: str | None = None
    folds: int = 5


def calibrated_tables(
    tables: Mapping[str, ScoreTable], inputs: Mapping[str, Input], options: HoldOutOptions
) -> Calibrated | None:
    """Calibrate as the options say; None where they say `none`."""
    fit = CALIBRATIONS[options.calibration]
    if options.calibrate == "none":
        return None
    if options.calibrate == "val":
        return calibrate_on(tables, val_tables(inputs, options.val), fit=fit)
    return calibrate_in_folds(tables, table_folds(tables, options), fit=fit)


def learned(
    tables: Mapping[str, ScoreTable], inputs: Mapping[str, Input], options: HoldOutOptions
) -> Fusion:
    """Fuse by a learner as the options say.

    Raises:
        InputError: --calibrate as well: a learner calibrates its inputs itself.
    """
    if options.calibrate != "none":
        raise InputError("--learn fits temperatures itself; leave out --calibrate")
    if options.learn_on == "val":
        others, folds = val_tables(inputs, options.val), None
    else:
        others, folds = None, table_folds(tables, options)
    learner = LEARNERS[options.learn]
    return learned_fusion(tables, learner, name=options.learn, folds=folds, others=others)


def check_only_learning(steps: Mapping[str, Step], combine: str | None) -> None:
    """Refuse options of `fuse` that do nothing beside --learn."""
    idle = [axis for axis in ("crops", "segments", "streams") if steps[axis] != MEAN]
    if idle or combine:
        raise InputError(
            "--learn fuses the streams by what it learns from their mean logits; leave out "
            "--strategy, --segments, --crops and --combine"
        )


def table_folds(tables: Mapping[str, ScoreTable], options: HoldOutOptions) -> np.ndarray:
    """The fold of each video of the first table.

    Raises:
        InputError: groups that are not known, too few, or no labels.
    """
    first = next(iter(tables.values()))
    dataset = first.about.get("dataset")
    groups = video_groups(first.names, options.groups, dataset=dataset)
    return grouped_folds(groups, first.labels, count=options.folds)


def known_groups(tables: Mapping[str, ScoreTable], options: HoldOutOptions) -> list[str] | None:
    """The group of each video of the first table; None where neither option nor data set tells."""
    first = next(iter(tables.values()))
    dataset = first.about.get("dataset")
    if options.groups is None and dataset not in GROUPINGS:
        return None
    return video_groups(first.names, options.groups, dataset=dataset)


def val_tables(inputs: Mapping[str, Input], given: Sequence[Path]) -> dict[str, ScoreTable]:
    """The validation scores of each input: `given` in the order of the inputs, or those beside it.

    Raises:
        InputError: another number of files, one that is not there, or of another stream.
    """
    if given and len(given) != len(inputs):
        raise InputError(f"{len(given)} times --val for {len(inputs)} inputs; give one for each")
    tables = {}
    for number, (key, one) in enumerate(inputs.items()):
        beside = next(iter(one.tables)).with_name("val.safetensors")
        path = given[number] if given else beside
        if not path.exists():
            raise InputError(f"no validation scores of {key} at {path}; name them with --val FILE")
        tables[key] = read_scores(path)
        _check_stream(key, one, path, tables[key])
    return tables


def _check_stream(key: str, one: Input, path: Path, table: ScoreTable) -> None:
    expected = next(iter(one.tables.values())).about
    for fact in ("stream", "dataset", "split"):
        here, there = expected.get(fact), table.about.get(fact)
        if here is not None and there is not None and here != there:
            raise InputError(f"{path}: {fact} {there}, but the scores of {key} are of {here}")
