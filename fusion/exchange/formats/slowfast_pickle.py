"""Score files of SlowFast (`TEST.SAVE_RESULTS_PATH`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fusion.exchange.formats.foreign_scores import (
    ForeignScores,
    check_numbers,
    four_axes,
    integer_labels,
)
from fusion.exchange.formats.pickled_tensors import load_tensors
from twostream_base.errors import InputError


def read_slowfast_pickle(path: Path) -> ForeignScores:
    """Read a pickled [scores (V, C), labels (V,)], in the order of the annotation file.

    The scores are the sum over the views of each video (`DATA.ENSEMBLE_METHOD sum`) of
    probabilities, or their maximum; sums are brought to 1.

    Raises:
        InputError: not such a pair, or a pickle that wants more than data.
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
    averaged = _averaged(scores.astype(np.float32))
    return ForeignScores(path, None, four_axes(averaged), integer_labels(labels, path))


def _averaged(scores: np.ndarray) -> np.ndarray:
    """Sums of probabilities over equally many views, divided by their number; others unchanged."""
    totals = scores.sum(axis=1)
    views = round(float(totals[0])) if np.isfinite(totals[0]) else 0
    summed = views >= 1 and (scores >= 0).all() and np.allclose(totals, views, rtol=1e-3)
    return scores / views if summed else scores
