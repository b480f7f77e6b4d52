"""Score files of jeffreyyihuang/two-stream-action-recognition and what descends from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fusion.exchange.formats.foreign_scores import ForeignScores, stack_videos
from fusion.exchange.formats.restricted_pickle import load
from twostream_base.errors import InputError


def read_two_stream_pickle(path: Path) -> ForeignScores:
    """Read a pickled dict of video name -> scores; there the sum of 19 clips' logits, (classes,).

    Raises:
        InputError: not such a dict, or a pickle that wants more than data.
    """
    data = path.read_bytes()
    return _named(load(data, path=path), path=path, most=len(data))


def read_counted_pickle(path: Path) -> ForeignScores:
    """Read a pickled (dict of video name -> summed scores, count), as mohammed-elkomy's .preds.

    The scores are divided by the count: there the mean of 19 frames' probabilities.

    Raises:
        InputError: not such a pair, or a pickle that wants more than data.
    """
    data = path.read_bytes()
    content = load(data, path=path)
    pair = isinstance(content, tuple | list) and len(content) == 2
    if not pair or not isinstance(content[1], int) or content[1] < 1:
        raise InputError(
            f"{path}: holds no pair (scores, count); a plain dict of scores is read by "
            "--format two-stream-pickle"
        )
    sums = _named(content[0], path=path, most=len(data))
    return ForeignScores(path, sums.names, sums.scores / content[1], labels=None)


def _named(scores: Any, *, path: Path, most: int) -> ForeignScores:
    if not isinstance(scores, dict) or not all(isinstance(name, str) for name in scores):
        raise InputError(
            f"{path}: holds {type(scores).__name__}; a two-stream pickle is a dict of "
            "video name -> scores"
        )
    stacked = stack_videos(scores.items(), path=path, most=most)
    return ForeignScores(path, tuple(scores), stacked, labels=None)
