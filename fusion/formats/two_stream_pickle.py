"""Score files of jeffreyyihuang/two-stream-action-recognition and what descends from it."""

from __future__ import annotations

from pathlib import Path

from fusion.formats.foreign_scores import ForeignScores, stack_videos
from fusion.formats.restricted_pickle import load
from twostream.errors import InputError


def read_two_stream_pickle(path: Path) -> ForeignScores:
    """Read a pickled dict of video name -> scores; there the sum of 19 clips' logits, (classes,).

    Raises:
        InputError: not such a dict, or a pickle that wants more than data.
    """
    scores = load(path.read_bytes(), path=path)
    if not isinstance(scores, dict) or not all(isinstance(name, str) for name in scores):
        raise InputError(
            f"{path}: holds {type(scores).__name__}; a two-stream pickle is a dict of "
            "video name -> scores"
        )
    return ForeignScores(path, tuple(scores), stack_videos(scores.items(), path=path), labels=None)
