"""Decision values of support vector machines in .mat files, as those of improved trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fusion.formats.foreign_scores import ForeignScores, four_axes
from fusion.formats.matlab5 import Value, read_mat
from twostream.errors import InputError


def read_decision_values(path: Path) -> ForeignScores:
    """Read the one matrix (V, C) of numbers; names and labels where there are any.

    Names are a cell of V texts, labels V whole numbers, from 1 as MATLAB counts. The variables are
    known by these shapes, whatever they are called.

    Raises:
        InputError: no such matrix or several, or several that could be names or labels.
    """
    variables = read_mat(path)
    scores = _only(variables, _is_matrix, "matrix (videos, classes)", path)
    if scores is None:
        raise InputError(f"{path}: no matrix (videos, classes); it holds {_contents(variables)}")
    videos = len(scores)
    names = _only(variables, lambda value: _are_names(value, videos), "list of names", path)
    labels = _only(variables, lambda value: _are_labels(value, videos), "list of labels", path)
    return ForeignScores(
        path,
        names=None if names is None else tuple(map(str, names)),
        scores=four_axes(np.asarray(scores, np.float32)),
        labels=None if labels is None else np.asarray(labels).reshape(-1).astype(np.int64) - 1,
    )


def _only(variables: Mapping[str, Value], fits, what: str, path: Path) -> Value | None:  # type: ignore[no-untyped-def]
    found = [name for name, value in variables.items() if fits(value)]
    if len(found) > 1:
        raise InputError(f"{path}: {' and '.join(found)} could each be the {what}; keep one")
    return variables[found[0]] if found else None


def _is_matrix(value: Value) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 2 and min(value.shape) > 1


def _are_names(value: Value, videos: int) -> bool:
    cells = isinstance(value, list) and len(value) == videos
    return cells and all(isinstance(item, str) and item for item in value)


def _are_labels(value: Value, videos: int) -> bool:
    if not isinstance(value, np.ndarray) or value.size != videos or value.dtype.kind not in "fiu":
        return False
    return bool((value == np.floor(value)).all() and (value >= 1).all())


def _contents(variables: Mapping[str, Value]) -> str:
    described = [
        f"{name} {value.shape}" if isinstance(value, np.ndarray) else f"{name} ({len(value)} texts)"
        for name, value in variables.items()
    ]
    return ", ".join(described) or "nothing that is understood"
