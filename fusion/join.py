"""Score tables of several streams are joined by video name, never by position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fusion.score_file import UNKNOWN, ScoreTable
from twostream.errors import InputError, some_of

MUST_AGREE = ("dataset", "split", "subset")


def join(tables: Mapping[str, ScoreTable]) -> tuple[dict[str, ScoreTable], list[str]]:
    """Bring tables to the videos, classes and labels of the first one, in its order.

    The keys of `tables` (stream names, say) stand in the messages. A label that only some tables
    know is given to all. Second result: warnings about what may be fused but should be known.

    Raises:
        InputError: names that are missing, extra or doubled; other classes; labels that contradict
            each other; another dataset, split or subset.
    """
    if not tables:
        raise InputError("nothing to fuse; give at least one score file")
    _check_origin(tables)
    _check_names(tables)
    first = next(iter(tables.values()))
    aligned = {key: _aligned(table, first, key) for key, table in tables.items()}
    labels = _joined_labels(aligned)
    joined = {key: replace(table, labels=labels) for key, table in aligned.items()}
    return joined, _warnings(tables)


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


def _aligned(table: ScoreTable, first: ScoreTable, key: str) -> ScoreTable:
    odd = set(table.class_names) ^ set(first.class_names)
    if odd:
        raise InputError(
            f"{key} has other classes than the first input: {some_of(sorted(odd))} "
            "not in both; only scores of the same classes can be fused"
        )
    row = {name: index for index, name in enumerate(table.names)}
    column = {name: index for index, name in enumerate(table.class_names)}
    videos = [row[name] for name in first.names]
    classes = [column[name] for name in first.class_names]
    # labels -1 pick the last entry, which stays -1
    new_label = np.append(np.argsort(classes), UNKNOWN)
    return replace(
        table,
        names=first.names,
        class_names=first.class_names,
        scores=table.scores[videos][..., classes],
        labels=new_label[table.labels[videos]],
    )


def _joined_labels(aligned: Mapping[str, ScoreTable]) -> np.ndarray:
    labels = np.stack([table.labels for table in aligned.values()])
    joined = labels.max(axis=0)
    contradicted = ((labels != joined) & (labels != UNKNOWN)).any(axis=0)
    if contradicted.any():
        names = next(iter(aligned.values())).names
        videos = [names[video] for video in np.flatnonzero(contradicted)]
        raise InputError(
            f"labels contradict each other for {len(videos)} videos "
            f"({', '.join(aligned)}): {some_of(videos)}"
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


def _listed(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {fact}" for key, fact in facts.items())
