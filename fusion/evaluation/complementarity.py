"""How the mistakes of streams and segments go together, whatever the strategy.

The measures of pairs are those of Kuncheva and Whitaker (Machine Learning 51, 2003, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from fusion.combining.fuse import VideoScores, view_scores
from fusion.combining.step import MEAN, Step, apply_step
from fusion.evaluation.metrics import proportion
from fusion.tables.score_file import ScoreTable


def complementarity(streams: VideoScores) -> dict[str, Any]:
    """How the streams' mistakes go together, as JSON values.

    `oracle` counts the videos that at least one stream gets right: no choice among them does better
    (a fusion of scores may). For each pair: `q`, Yule's Q of being right, 1 for streams that are
    right together, 0 for independent ones, -1 for opposite ones, None where it is not defined; and
    `double_fault`, the videos that both get wrong.
    """
    known = streams.labels >= 0
    right = {
        key: scores[known].argmax(axis=1) == streams.labels[known]
        for key, scores in streams.scores.items()
    }
    videos = int(known.sum())
    any_right = np.any(list(right.values()), axis=0)
    return {
        "oracle": proportion(int(any_right.sum()), videos),
        "pairs": [
            {
                "first": a,
                "second": b,
                "q": yules_q(right[a], right[b]),
                "double_fault": proportion(int((~right[a] & ~right[b]).sum()), videos),
            }
            for a, b in combinations(right, 2)
        ],
    }


def yules_q(first: np.ndarray, second: np.ndarray) -> float | None:
    """Q of two bool (V,): (both·neither - a·b) / (both·neither + a·b), a and b: only one right."""
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    same, unlike = both * neither, only_first * only_second
    return (same - unlike) / (same + unlike) if same + unlike else None


def segment_accuracy(table: ScoreTable, *, segments: Step = MEAN) -> list[dict[str, Any]]:
    """Top-1 of each segment `alone`, and of all the others fused `without` it, as JSON values.

    Crops are averaged. `without` is None where there is one segment only, and where the strategy
    is one of as many weights as segments.
    """
    score_type = "probs" if table.score_type == "probs" else "logits"
    known = table.labels >= 0
    scores, labels = view_scores(table, score_type).mean(axis=2)[known], table.labels[known]

    def top1(fused: np.ndarray) -> dict[str, Any]:
        return proportion(int((fused.argmax(axis=1) == labels).sum()), len(labels))

    count = scores.shape[1]
    has_rest = count > 1 and "weights" not in segments.options
    rows = []
    for number in range(count):
        rest = np.delete(scores, number, axis=1)
        without = (
            top1(apply_step(rest, segments, score_type=score_type).scores) if has_rest else None
        )
        rows.append({"segment": number + 1, "alone": top1(scores[:, number]), "without": without})
    return rows


def class_accuracy(
    results: Mapping[str, np.ndarray], labels: np.ndarray, class_names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Videos of each class, and how many of them each result (V, C) gets right, as JSON values.

    Classes without videos are left out.
    """
    known, classes = labels >= 0, len(class_names)
    videos = np.bincount(labels[known], minlength=classes)
    right = {
        name: np.bincount(labels[known & (scores.argmax(axis=1) == labels)], minlength=classes)
        for name, scores in results.items()
    }
    return [
        {
            "class": class_names[index],
            "videos": int(videos[index]),
            "correct": {name: int(hits[index]) for name, hits in right.items()},
        }
        for index in np.flatnonzero(videos)
    ]
