"""On which videos something is fitted: validation scores, or grouped folds of the file itself."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusion.combining.fuse import Fusion
from fusion.combining.inputs import Input
from fusion.combining.step import MEAN, Step
from fusion.fitting.calibrate_tables import (
    Calibrated,
    calibrate_in_folds,
    calibrate_on,
)
from fusion.fitting.calibration import CALIBRATIONS
from fusion.fitting.learned_fusion import LEARNERS, learned_fusion
from fusion.tables.score_file import ScoreTable, read_scores
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text


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


# Videos that belong together (one scene, one film), and folds that never part them.
def ucf101_group(name: str) -> str:
    """The scene of `Class/v_Class_g02_c03`: `g01` to `g25` of a class (Soomro et al., 2012)."""
    scene = re.search(r"([^/]+_g\d+)_c\d+$", name)
    if not scene:
        raise InputError(f"{name!r} is no UCF101 name (..._g02_c03); give other --groups")
    return scene[1].casefold()


def hmdb51_group(name: str) -> str:
    """The film of `class/film_class_h_cm_np1_ri_goo_0` (Kuehne et al., ICCV 2011)."""
    folder, _, video = name.rpartition("/")
    film, found, _ = video.partition(f"_{folder.rpartition('/')[2]}_")
    if not found:
        raise InputError(f"{name!r} is no HMDB51 name (class/film_class_...); give other --groups")
    return film


GROUPINGS: dict[str, Callable[[str], str]] = {
    "ucf101": ucf101_group,
    "hmdb51": hmdb51_group,
    "video": lambda name: name,
}


def video_groups(names: Sequence[str], how: str | None, *, dataset: str | None) -> list[str]:
    """The group of each video.

    `how` is a name of `GROUPINGS` (by default that of the data set), a CSV file of lines
    `name,group`, or a regular expression whose brackets catch the group in a name.

    Raises:
        InputError: groups are not known, or not for every video.
    """
    how = how or (dataset if dataset in GROUPINGS else None)
    if how is None:
        raise InputError(
            f"which videos belong together is not known (data set {dataset or 'not known'}): give "
            f"--groups {', '.join(GROUPINGS)}, a CSV file of lines name,group, or a pattern as "
            "'_(g[0-9]+)_'; `video` where each one stands alone"
        )
    if how in GROUPINGS:
        return [GROUPINGS[how](name) for name in names]
    return _listed(names, Path(how)) if how.endswith(".csv") else _matched(names, how)


def grouped_folds(groups: Sequence[str], labels: np.ndarray, *, count: int = 5) -> np.ndarray:
    """The fold 0..count-1 of each video, int64 (V,): a group is never parted, classes are spread.

    The largest group first, each goes where its classes are rarest so far. The order of the videos
    is irrelevant.

    Raises:
        InputError: fewer groups than folds, or fewer than 2 folds.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for video, group in enumerate(groups):
        members[group].append(video)
    if not 2 <= count <= len(members):
        raise InputError(f"{count} folds of {len(members)} groups; allowed: 2..{len(members)}")
    folds = np.empty(len(groups), dtype=np.int64)
    held = np.zeros((count, int(labels.max(initial=0)) + 2), dtype=np.int64)  # labels may be -1
    for group in sorted(members, key=lambda group: (-len(members[group]), group)):
        added = np.bincount(labels[members[group]] + 1, minlength=held.shape[1])
        crowding = held @ added
        fold = min(range(count), key=lambda fold: (crowding[fold], held[fold].sum(), fold))
        held[fold] += added
        folds[members[group]] = fold
    return folds


def _listed(names: Sequence[str], path: Path) -> list[str]:
    rows = [row for row in csv.reader(io.StringIO(read_text(path))) if row]
    if odd := [",".join(row) for row in rows if len(row) != 2]:
        raise InputError(f"{path}: expected lines name,group; not so: {some_of(odd)}")
    if doubled := [name for name, times in Counter(name for name, _ in rows).items() if times > 1]:
        raise InputError(f"{path}: more than once: {some_of(doubled)}")
    groups = dict(rows)
    if missing := [name for name in names if name not in groups]:
        raise InputError(f"{path}: no group for {len(missing)} videos: {some_of(missing)}")
    return [groups[name] for name in names]


def _matched(names: Sequence[str], pattern: str) -> list[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--groups {pattern!r}: no regular expression ({error})") from None
    found = [expression.search(name) for name in names]
    if missing := [name for name, match in zip(names, found, strict=True) if not match]:
        raise InputError(f"--groups {pattern!r} finds nothing in {some_of(missing)}")
    return ["|".join(match.groups(default="") or (match[0],)) for match in found if match]
