"""What a score file holds, for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fusion.fuse import fuse
from fusion.metrics import accuracy_summary
from fusion.result import accuracy_cells
from fusion.score_file import ScoreTable

TOP = 3


def contents(table: ScoreTable, *, first: int) -> dict[str, Any]:
    """Header, shape, accuracy, and the highest classes of the first videos, as JSON values.

    Accuracy and classes are those of the mean over segments and crops.
    """
    fused = fuse({"this file": table}).table
    scores = fused.scores[:, 0, 0]
    axes = ("videos", "segments", "crops", "classes")
    return {
        "kind": table.kind,
        "shape": dict(zip(axes, table.scores.shape, strict=True)),
        "dtype": str(table.scores.dtype),
        "about": table.about,
        "accuracy": accuracy_summary(scores, table.labels),
        "first": [_video(table, row, scores[row]) for row in range(min(first, len(scores)))],
    }


def content_lines(shown: Mapping[str, Any]) -> list[str]:
    """The same as lines of text."""
    shape = ", ".join(f"{axis} {count}" for axis, count in shown["shape"].items())
    top1, top5, mean_class = accuracy_cells(shown["accuracy"])
    return [
        f"{shown['kind']}, {shown['dtype']}; {shape}",
        *(f"{key}: {_text(value)}" for key, value in shown["about"].items()),
        "",
        f"top-1 {top1}   top-5 {top5}   mean class {mean_class}",
        "",
        *(
            f"{video['name']} (true: {video['label'] or 'not known'}): {_ranking(video['top'])}"
            for video in shown["first"]
        ),
    ]


def _video(table: ScoreTable, row: int, scores: np.ndarray) -> dict[str, Any]:
    label = int(table.labels[row])
    highest = np.argsort(-scores, kind="stable")[:TOP]
    return {
        "name": table.names[row],
        "label": None if label < 0 else table.class_names[label],
        "top": [
            {"class": table.class_names[index], "score": round(float(scores[index]), 4)}
            for index in highest
        ],
    }


def _ranking(top: list[dict[str, Any]]) -> str:
    return ", ".join(f"{item['class']} {item['score']:.4g}" for item in top)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
