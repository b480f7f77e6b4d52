"""Joining the score tables of several streams, by video name and never by position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusion.tables.groups import RULES, grouped_folds, video_groups
from fusion.tables.score_file import (
    UNKNOWN,
    ScoreTable,
    read_scores,
    seen_text,
    select,
    table_of_array,
)
from twostream_base.errors import InputError, some_of

Input = ScoreTable | str | PathLike[str] | ArrayLike
MUST_AGREE = ("dataset", "split", "subset")


@dataclass(frozen=True, eq=False)
class JoinedTables:
    """Score tables of the same videos and classes, in the same order.

    Attributes:
        names, class_names, labels: of all tables.
        groups: the scene, film or source of each video, or None where no table knows it.
        tables: by stream; at least one.
        warnings: what should be known but does not prevent a fusion.
        times: of windows of long videos, float64 (V, 2) in seconds; else None.
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: np.ndarray
    groups: tuple[str, ...] | None
    tables: dict[str, ScoreTable]
    warnings: list[str]
    times: np.ndarray | None = None

    def folds(self, count: int) -> np.ndarray:
        """The fold 0..count-1 of each video, int64 (V,), whole groups at a time.

        Raises:
            InputError: groups that are not known, or too few of them.
        """
        first = next(iter(self.tables.values()))
        dataset = str(first.metadata.get("dataset") or "") or None
        groups = self.groups or video_groups(self.names, dataset=dataset)
        return grouped_folds(groups, self.labels, count=count)


def join(
    inputs: Mapping[str, Input],
    *,
    labels: ArrayLike | None = None,
    score_type: str | None = None,
    groups: Sequence[str] | str | None = None,
) -> JoinedTables:
    """Bring the inputs to the videos, classes and labels of the first one, in its order.

    The keys of `inputs` (stream names, say) are used in messages. A label that only some tables
    know is given to all; so are the groups of the videos.

    Args:
        inputs: score files (paths), tables, or arrays (V, C), (V, S, C) or (V, S, R, C). Arrays
            have no video names: they must all be of the same videos in the same order, and cannot
            be joined with files.
        labels, score_type: of arrays, see `table_of_array`.
        groups: the group of each video of the first input, or how `video_groups` finds it. By
            default that of the files, else that which the names tell (UCF101, HMDB51).

    Raises:
        InputError: names that are missing, extra or doubled; other classes; labels, groups or times
            that contradict each other; another dataset, split or subset.
    """
    by_name = [isinstance(value, str | PathLike | ScoreTable) for value in inputs.values()]
    if len(set(by_name)) > 1 or (any(by_name) and not (labels is None and score_type is None)):
        raise InputError(
            "arrays, labels and score_type cannot go with score files: arrays have no video names "
            "to join by, and files say their labels and score type themselves"
        )
    tables = {}
    for key, value in inputs.items():
        if isinstance(value, ScoreTable):
            tables[key] = value
        elif isinstance(value, str | PathLike):
            tables[key] = read_scores(value, in_memory=False)
        else:
            tables[key] = table_of_array(value, labels=labels, score_type=score_type)
    if not tables:
        raise InputError("nothing to fuse; give at least one score file")
    for fact in MUST_AGREE:
        known = {
            key: str(table.metadata[fact])
            for key, table in tables.items()
            if fact in table.metadata
        }
        if len(set(known.values())) > 1:
            cure = "; --splits has each split by itself" if fact == "split" else ""
            raise InputError(
                f"{fact} differs: {_listed(known)}; only scores of one {fact} can be fused{cure}"
            )
    everything = {name for table in tables.values() for name in table.names}
    faults = []
    for key, table in tables.items():
        missing = sorted(everything - set(table.names))
        doubled = [name for name, count in Counter(table.names).items() if count > 1]
        faults += [f"{key} lacks {len(missing)}: {some_of(missing)}"] if missing else []
        faults += [f"{key} has doubled {len(doubled)}: {some_of(doubled)}"] if doubled else []
    if faults:
        counts = {key: f"{len(table.names)} videos" for key, table in tables.items()}
        raise InputError(
            f"the videos do not join ({_listed(counts)}): {'; '.join(faults)}; "
            "score the streams on the same list"
        )
    first = next(iter(tables.values()))
    rows, columns, known_labels = {}, {}, {}
    for key, table in tables.items():
        if unlike := set(table.class_names) ^ set(first.class_names):
            raise InputError(
                f"{key} has other classes than the first input: {some_of(sorted(unlike))} "
                "not in both; only scores of the same classes can be fused"
            )
        row = {name: index for index, name in enumerate(table.names)}
        column = {name: index for index, name in enumerate(table.class_names)}
        rows[key] = [row[name] for name in first.names]
        columns[key] = [column[name] for name in first.class_names]
        # a label of -1 picks the last entry, which is -1
        known_labels[key] = np.append(np.argsort(columns[key]), UNKNOWN)[table.labels[rows[key]]]
    labels_of_all = np.stack(list(known_labels.values()))
    joined_labels = labels_of_all.max(axis=0)
    contradicted = ((labels_of_all != joined_labels) & (labels_of_all != UNKNOWN)).any(axis=0)
    if contradicted.any():
        videos = [first.names[video] for video in np.flatnonzero(contradicted)]
        raise InputError(
            f"labels contradict each other for {len(videos)} videos "
            f"({', '.join(tables)}): {some_of(videos)}"
        )
    common: dict[str, Any] = {
        "names": first.names,
        "class_names": first.class_names,
        "labels": joined_labels,
        "groups": _joined_groups(tables, rows, first.names, groups),
        "times": _joined_times(tables, rows),
    }
    joined = {
        key: replace(table, scores=select(table.scores, rows[key], columns[key]), **common)
        for key, table in tables.items()
    }
    return JoinedTables(**common, tables=joined, warnings=_warnings(tables, columns))


def _joined_groups(
    tables: Mapping[str, ScoreTable],
    rows: Mapping[str, list[int]],
    names: tuple[str, ...],
    explicit: Sequence[str] | str | None,
) -> tuple[str, ...] | None:
    """The groups as the first table that knows them calls them; others may call them otherwise."""
    if explicit is not None:
        groups = video_groups(names, explicit) if isinstance(explicit, str) else explicit
        if len(groups) != len(names):
            raise InputError(f"{len(groups)} groups for {len(names)} videos; give one for each")
        return tuple(map(str, groups))
    by_table = {
        key: tuple(table.groups[row] for row in rows[key])
        for key, table in tables.items()
        if table.groups is not None
    }
    if not by_table:
        datasets = {str(table.metadata.get("dataset")) for table in tables.values()}
        rule = next((RULES[dataset] for dataset in datasets if dataset in RULES), lambda name: None)
        by_rule = [group for name in names if (group := rule(name)) is not None]
        return tuple(by_rule) if len(by_rule) == len(names) else None
    first, of_first = next(iter(by_table.items()))
    for key, others in by_table.items():
        there = dict(zip(of_first, others, strict=True))
        here = dict(zip(others, of_first, strict=True))
        for name, group, other in zip(names, of_first, others, strict=True):
            if (there[group], here[other]) != (other, group):
                raise InputError(
                    f"groups contradict each other, as for {name}: {first} has it in {group!r}, "
                    f"{key} in {other!r}, and these do not hold the same videos; say which videos "
                    "belong together with --groups, or score the streams with the same lists"
                )
    return of_first


def _joined_times(
    tables: Mapping[str, ScoreTable], rows: Mapping[str, list[int]]
) -> np.ndarray | None:
    """The times of the first table; all must have the same, or none any."""
    times = {
        key: table.times[rows[key]] for key, table in tables.items() if table.times is not None
    }
    if not times:
        return None
    if plain := [key for key in tables if key not in times]:
        raise InputError(
            f"{next(iter(times))} has scores of windows of long videos, {plain[0]} of whole "
            "videos; fuse windows with windows"
        )
    first, of_first = next(iter(times.items()))
    for key, of_key in times.items():
        differs = np.flatnonzero(~np.isclose(of_first, of_key, rtol=0, atol=1e-3).all(axis=1))
        if len(differs):
            window = differs[0]
            raise InputError(
                f"the times of {len(differs)} windows differ, as of {tables[first].names[window]}: "
                f"{first} has {of_first[window].tolist()}, {key} {of_key[window].tolist()} "
                "seconds; predict the streams with the same --window and --stride"
            )
    return of_first


def _warnings(tables: Mapping[str, ScoreTable], columns: Mapping[str, list[int]]) -> list[str]:
    facts = {key: table.metadata for key, table in tables.items()}
    protocols = {key: str(about.get("protocol", "not known")) for key, about in facts.items()}
    warnings = []
    if len(set(protocols.values())) > 1:
        warnings.append(f"the protocols differ: {_listed(protocols)}")
    for key, about in facts.items():
        has_labels = bool((tables[key].labels != UNKNOWN).any())  # films that are predicted do not
        if has_labels and about.get("selected_on", "not known") == about.get("subset", "test"):
            warnings.append(
                f"{key}: its epoch was selected on these very videos, so its accuracy is optimistic"
            )
        if seen := seen_text(about):
            warnings.append(f"{key}: {seen}: its accuracy says nothing about unseen videos")
        if about.get("fitted_on"):
            warnings.append(f"{key}: something in it was fitted on {about['fitted_on']}")
        if about.get("missing"):
            warnings.append(
                f"{key}: {about['missing']} of {about.get('listed', '?')} listed videos are left "
                "out (--allow-missing)"
            )
    first = next(iter(tables))
    return warnings + [
        f"the classes of {key} are in another order; they are joined by name, in that of {first}"
        for key, positions in columns.items()
        if positions != sorted(positions)
    ]


def _listed(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {fact}" for key, fact in facts.items())
