"""Score files of mmaction2 (`--dump`), of its forerunner, and of pyskl."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion.exchange.formats.foreign_scores import (
    ForeignScores,
    integer_labels,
    stack_videos,
)
from fusion.exchange.formats.pickled_tensors import load_tensors
from twostream_base.errors import InputError

_SCORES = ("pred_score", "pred_scores")
_LABELS = ("gt_label", "gt_labels")


def read_mmaction2_pickle(path: Path) -> ForeignScores:
    """Read a pickled list with an item a video, in the order of the annotation file.

    An item is a dict with `pred_score` and `gt_label` (or, in version 1.0, `pred_scores.item`
    and `gt_labels.item`), or, in version 0.x and pyskl, the scores themselves.

    Raises:
        InputError: not such a list, labels of some videos only or several of one, or a pickle that
            wants more than data.
    """
    data = path.read_bytes()
    items = load_tensors(data, path=path)
    if not isinstance(items, list):
        raise InputError(
            f"{path}: holds {type(items).__name__}; mmaction2's result is a list with an item a "
            "video"
        )
    videos = [(f"item {row}", _value(item, _SCORES, path)) for row, item in enumerate(items)]
    scores = stack_videos(videos, path=path, most=len(data))
    return ForeignScores(path, None, scores, _labels(items, path))


def _labels(items: list[Any], path: Path) -> np.ndarray | None:
    if not any(isinstance(item, Mapping) for item in items):
        return None
    labels = [np.asarray(_value(item, _LABELS, path)) for item in items]
    if not all(label.size == 1 for label in labels):
        raise InputError(f"{path}: items with several labels, or none; each video needs one")
    return integer_labels(np.stack([label.reshape(()) for label in labels]), path)


def _value(item: Any, keys: tuple[str, ...], path: Path) -> Any:
    if not isinstance(item, Mapping):
        return item
    for key in keys:
        if key in item:
            value = item[key]
            return value["item"] if isinstance(value, Mapping) and "item" in value else value
    raise InputError(
        f"{path}: an item has no {keys[0]}, only {', '.join(map(str, item)) or 'nothing'}"
    )
