"""Pickled score files of two-stream-action-recognition, mmaction2 (and pyskl), and SlowFast.

They are read without running code: see `restricted_pickle.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion.exchange.formats.external_scores import ExternalScores, integer_labels, stack_videos
from fusion.exchange.formats.restricted_pickle import load_pickle, load_tensors
from fusion.tables.score_file import check_numbers, four_axes, smallest_float
from twostream_base.errors import InputError

_SCORES = ("pred_score", "pred_scores")
_LABELS = ("gt_label", "gt_labels")


def read_two_stream_pickle(path: Path) -> ExternalScores:
    """Read a pickled dict of video name -> scores (classes,), there the sum of 19 clips' logits."""
    data = path.read_bytes()
    return _named(load_pickle(data, path=path), path=path, most=len(data))


def read_counted_pickle(path: Path) -> ExternalScores:
    """Read a pickled (dict of video name -> summed scores, count), as mohammed-elkomy's .preds.

    The scores are divided by the count, in float64, as a float32 that is rounded could tie two
    classes: there the mean of 19 frames' probabilities.
    """
    data = path.read_bytes()
    content = load_pickle(data, path=path)
    pair = isinstance(content, tuple | list) and len(content) == 2
    if not pair or not isinstance(content[1], int) or content[1] < 1:
        raise InputError(
            f"{path}: holds no pair (scores, count); a plain dict of scores is read by "
            "--format two-stream-pickle"
        )
    sums = _named(content[0], path=path, most=len(data))
    means = smallest_float(sums.scores.astype(np.float64) / content[1])
    return ExternalScores(path, sums.names, means, labels=None)


def read_mmaction2_pickle(path: Path) -> ExternalScores:
    """Read mmaction2's `--dump`: a pickled list with an item a video, in the order of its list.

    An item is a dict with `pred_score` and `gt_label` (or, in version 1.0, `pred_scores.item`
    and `gt_labels.item`), or, in version 0.x and pyskl, the scores themselves.
    """
    data = path.read_bytes()
    items = load_tensors(data, path=path)
    if not isinstance(items, list):
        raise InputError(
            f"{path}: holds {type(items).__name__}; mmaction2's result is a list with an item a "
            "video"
        )
    videos = [(f"item {row}", _item_value(item, _SCORES, path)) for row, item in enumerate(items)]
    scores = stack_videos(videos, path=path, most=len(data))
    if not any(isinstance(item, Mapping) for item in items):
        return ExternalScores(path, None, scores, labels=None)
    labels = [np.asarray(_item_value(item, _LABELS, path)) for item in items]
    if not all(label.size == 1 for label in labels):
        raise InputError(f"{path}: items with several labels, or none; each video needs one")
    of_videos = np.stack([label.reshape(()) for label in labels])
    return ExternalScores(path, None, scores, integer_labels(of_videos, path))


def read_slowfast_pickle(path: Path) -> ExternalScores:
    """Read SlowFast's results (`TEST.SAVE_RESULTS_PATH`): a pickled [scores (V, C), labels (V,)].

    Videos are in the order of the annotation file. The scores are the sum over the views of each
    video (`DATA.ENSEMBLE_METHOD sum`) of probabilities, or their maximum; sums are brought to 1.
    """
    content = load_tensors(path.read_bytes(), path=path)
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise InputError(f"{path}: holds no pair [scores, labels], as SlowFast saves them")
    scores, labels = (np.asarray(part) for part in content)
    check_numbers(scores, where=f"{path}: the first part")
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise InputError(
            f"{path}: scores {scores.shape} and labels {labels.shape}; expected (V, C) and (V,), "
            "one label a video"
        )
    scores = scores.astype(np.float64)
    totals = scores.sum(axis=1)
    views = round(float(totals[0])) if np.isfinite(totals[0]) else 0
    if views >= 1 and (scores >= 0).all() and np.allclose(totals, views, rtol=1e-3):
        scores = scores / views  # sums of probabilities over so many views
    return ExternalScores(
        path, None, four_axes(smallest_float(scores)), integer_labels(labels, path)
    )


def _named(scores: Any, *, path: Path, most: int) -> ExternalScores:
    if not isinstance(scores, dict) or not all(isinstance(name, str) for name in scores):
        raise InputError(
            f"{path}: holds {type(scores).__name__}; a two-stream pickle is a dict of "
            "video name -> scores"
        )
    stacked = stack_videos(scores.items(), path=path, most=most)
    return ExternalScores(path, tuple(scores), stacked, labels=None)


def _item_value(item: Any, keys: tuple[str, ...], path: Path) -> Any:
    if not isinstance(item, Mapping):
        return item
    for key in keys:
        if key in item:
            value = item[key]
            return value["item"] if isinstance(value, Mapping) and "item" in value else value
    raise InputError(
        f"{path}: an item has no {keys[0]}, only {', '.join(map(str, item)) or 'nothing'}"
    )
