"""An event: a stretch of a film with a class; and how far events overlap (temporal IoU)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Event(NamedTuple):
    """Something that happens in a film from `start` to `end`, seconds.

    Attributes:
        label: the name of its class.
        score: how sure a system is of it, the higher the surer; 1 in a ground truth.
    """

    start: float
    end: float
    label: str
    score: float = 1.0


def temporal_iou(start: float, end: float, spans: np.ndarray) -> np.ndarray:
    """The tIoU of one span with others, (N, 2) seconds: what they share over what they cover, (N,).

    start 0, end 4, spans [[2 6] [4 5] [0 4]]: 1/3 0 1

    Spans of no length at the same moment have 0.
    """
    shared = (np.minimum(end, spans[:, 1]) - np.maximum(start, spans[:, 0])).clip(0)
    covered = (spans[:, 1] - spans[:, 0]) + (end - start) - shared
    return np.divide(shared, covered, out=np.zeros(len(spans)), where=covered > 0)
