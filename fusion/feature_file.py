"""Feature files: what a network's classifier saw of each segment, for fusion that learns.

On disk: safetensors with the tensors `features` and `labels`, and a header as in score files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fusion.table_file import check_unique, read_table_file, write_header
from fusion.tensor_stream import write_tensor_in_parts
from twostream.errors import InputError, some_of


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of videos.

    Attributes:
        names: V video names, each once.
        class_names: C class names, each once; the position is the label.
        features: float16 (V videos, S segments, D), the mean over the crops, all finite.
        labels: int64 (V,), the true class, or -1 where it is not known.
        about: what else is known, as in the score file of the same network and videos.
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    features: np.ndarray
    labels: np.ndarray
    about: dict[str, Any]


def write_features(path: Path, table: FeatureTable) -> None:
    """Write a feature file; the same table gives the same bytes.

    Raises:
        InputError: names that are doubled, another type or shape, or values that are not finite.
    """
    check_features(table, where=str(path))
    write_features_in_parts(path, [table.features], whole=table)


def write_features_in_parts(
    path: Path, parts: Iterable[np.ndarray], *, whole: FeatureTable
) -> None:
    """Write a feature file of which one part, some videos after the other, is in memory at a time.

    Args:
        parts: sound features (n, S, D), which together are those of `whole`.
        whole: of its `features` only shape and type count.
    """
    write_tensor_in_parts(
        path,
        "features",
        parts,
        like=whole.features,
        labels=whole.labels,
        header=partial(
            write_header,
            names=whole.names,
            class_names=whole.class_names,
            kind="features",
            about=whole.about,
        ),
    )


def read_features(path: Path) -> FeatureTable:
    """Read a feature file and verify all of it.

    Raises:
        InputError: not a feature file, damaged, or its content is not sound; the file is named.
    """
    header, tensors = read_table_file(path, "features")
    table = FeatureTable(
        names=tuple(header["names"]),
        class_names=tuple(header["class_names"]),
        features=tensors["features"],
        labels=tensors["labels"],
        about=header["about"],
    )
    check_features(table, where=str(path))
    return table


def check_features(table: FeatureTable, *, where: str) -> None:
    """Hold a table against the rules that `FeatureTable` states; `where` starts the message.

    Raises:
        InputError: the first rule that is broken, and by what.
    """
    features, count = table.features, len(table.names)
    if features.dtype != np.float16 or features.ndim != 3 or len(features) != count:
        raise InputError(
            f"{where}: features are {features.dtype} {features.shape}; they must be float16 "
            f"({count} videos, segments, features)"
        )
    if table.labels.dtype != np.int64 or table.labels.shape != (count,):
        raise InputError(
            f"{where}: labels are {table.labels.dtype} {table.labels.shape}; they must be int64 "
            f"({count},)"
        )
    check_unique(table.names, f"{where}: video names")
    check_unique(table.class_names, f"{where}: class names")
    if not np.isfinite(features).all():
        broken = np.flatnonzero(~np.isfinite(features).all(axis=(1, 2)))
        raise InputError(
            f"{where}: features that are NaN, infinite or beyond float16 (65,504), for "
            f"{some_of([table.names[video] for video in broken])}"
        )
