"""Score tables of several streams are joined by video name, never by position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fusion.tables.score_file import UNKNOWN, ScoreTable
from twostream_base.errors import InputError, some_of

MUST_AGREE = ("dataset", "split", "subset")


@dataclass(frozen=True, eq=False)
class JoinPlan:
    """What joined tables have in common, and where each one keeps it.

    Attributes:
        names, class_names, labels: of the joined tables.
        rows: for each table which of its videos is each of `names`,
        columns: and which of its classes is each of `class_names`.
        warnings: about what may be fused but should be known.
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: np.ndarray
    rows: dict[str, list[int]]
    columns: dict[str, list[int]]
    warnings: list[str]


def join(tables: Mapping[str, ScoreTable]) -> tuple[dict[str, ScoreTable], list[str]]:
    """Bring tables to the videos, classes and labels of the first one, in its order.

    The keys of `tables` (stream names, say) stand in the messages. A label that only some tables
    know is given to all. Second result: warnings about what may be fused but should be known.

    Raises:
        InputError: names that are missing, extra or doubled; other classes; labels that contradict
            each other; another dataset, split or subset.
    """
    plan = plan_join(tables)
    joined = {
        key: replace(
            table,
            names=plan.names,
            class_names=plan.class_names,
            scores=table.scores[plan.rows[key]][..., plan.columns[key]],
            labels=plan.labels,
        )
        for key, table in tables.items()
    }
    return joined, plan.warnings


def plan_join(tables: Mapping[str, ScoreTable]) -> JoinPlan:
    """Find out how to join tables, without touching their scores; raises what `join` does."""
    if not tables:
        raise InputError("nothing to fuse; give at least one score file")
    _check_origin(tables)
    _check_names(tables)
    first = next(iter(tables.values()))
    rows = {key: _places(first.names, table.names) for key, table in tables.items()}
    columns = {key: _class_columns(table, first, key) for key, table in tables.items()}
    # labels -1 pick the last entry, which stays -1
    labels = {
        key: np.append(np.argsort(columns[key]), UNKNOWN)[table.labels[rows[key]]]
        for key, table in tables.items()
    }
    joined = _joined_labels(labels, first.names)
    warnings = _warnings(tables) + _moved_classes(columns)
    return JoinPlan(first.names, first.class_names, joined, rows, columns, warnings)


def _check_origin(tables: Mapping[str, ScoreTable]) -> None:
    for fact in MUST_AGREE:
        known = {
            key: str(table.about[fact]) for key, table in tables.items() if fact in table.about
        }
        if len(set(known.values())) > 1:
            raise InputError(
                f"{fact} differs: {_listed(known)}; only scores of one {fact} can be fused"
            )


def _check_names(tables: Mapping[str, ScoreTable]) -> None:
    everything = {name for table in tables.values() for name in table.names}
    faults = []
    for key, table in tables.items():
        doubled = [name for name, count in Counter(table.names).items() if count > 1]
        lacking = sorted(everything - set(table.names))
        faults += [
            f"{key} {fault} {len(names)}: {some_of(names)}"
            for fault, names in (("lacks", lacking), ("has doubled", doubled))
            if names
        ]
    if faults:
        counts = {key: f"{len(table.names)} videos" for key, table in tables.items()}
        raise InputError(
            f"the videos do not join ({_listed(counts)}): {'; '.join(faults)}; "
            "score the streams on the same list"
        )


def _class_columns(table: ScoreTable, first: ScoreTable, key: str) -> list[int]:
    odd = set(table.class_names) ^ set(first.class_names)
    if odd:
        raise InputError(
            f"{key} has other classes than the first input: {some_of(sorted(odd))} "
            "not in both; only scores of the same classes can be fused"
        )
    return _places(first.class_names, table.class_names)


def _places(wanted: tuple[str, ...], given: tuple[str, ...]) -> list[int]:
    place = {name: index for index, name in enumerate(given)}
    return [place[name] for name in wanted]


def _joined_labels(labels: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    stacked = np.stack(list(labels.values()))
    joined = stacked.max(axis=0)
    contradicted = ((stacked != joined) & (stacked != UNKNOWN)).any(axis=0)
    if contradicted.any():
        videos = [names[video] for video in np.flatnonzero(contradicted)]
        raise InputError(
            f"labels contradict each other for {len(videos)} videos "
            f"({', '.join(labels)}): {some_of(videos)}"
        )
    return joined


def _warnings(tables: Mapping[str, ScoreTable]) -> list[str]:
    protocols = {
        key: str(table.about.get("protocol", "not known")) for key, table in tables.items()
    }
    warnings = []
    if len(set(protocols.values())) > 1:
        warnings.append(f"the protocols differ: {_listed(protocols)}")
    for key, table in tables.items():
        if table.about.get("selected_on", "not known") == table.about.get("subset", "test"):
            warnings.append(
                f"{key}: its epoch was selected on these very videos, so that its "
                "accuracy is optimistic"
            )
        if table.about.get("missing"):
            warnings.append(
                f"{key}: {table.about['missing']} of {table.about.get('listed', '?')} "
                "listed videos are left out (--allow-missing)"
            )
    return warnings


def _moved_classes(columns: Mapping[str, list[int]]) -> list[str]:
    first = next(iter(columns))
    return [
        f"the classes of {key} stand in another order; they are joined by name, in that of {first}"
        for key, places in columns.items()
        if places != sorted(places)
    ]


def _listed(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {fact}" for key, fact in facts.items())
