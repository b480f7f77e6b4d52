"""Predictions for programs and for people."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.result import columns
from twostream.inference.predict_video import Prediction


def result_row(name: str, prediction: Prediction, *, top: int) -> dict[str, Any]:
    """What was predicted of the video `name`, as JSON values; `top` classes."""
    header, class_names = prediction.header, prediction.class_names
    return {
        "video": name,
        "frames": header["counts"]["frames"],
        "damaged": header["reason"] if header["status"] == "damaged" else None,
        "top": highest(prediction.fused, class_names, top=top),
        "streams": {
            key: highest(probs, class_names, top=top) for key, probs in prediction.streams.items()
        },
        "lead": prediction.lead,
        "seconds": {part: round(value, 4) for part, value in prediction.seconds.items()},
        "warnings": prediction.warnings,
    }


def highest(
    probs: NDArray[np.float64], class_names: Sequence[str], *, top: int
) -> list[dict[str, Any]]:
    """The `top` most probable classes, best first."""
    order = np.argsort(-probs, kind="stable")[:top]
    return [{"class": class_names[index], "probability": float(probs[index])} for index in order]


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """A row for each video, what is wrong with some, and the seconds."""
    rows = [
        (row["video"], *(f"{one['class']} {one['probability']:.1%}" for one in row["top"]))
        for row in result["videos"]
    ]
    notes = [
        f"warning: {row['video']}: {text}"
        for row in result["videos"]
        for text in (*([row["damaged"]] if row["damaged"] else []), *row["warnings"])
    ]
    failed = [f"{name}: {reason}" for name, reason in result["failed"].items()]
    return [*(columns(rows) if rows else []), *notes, *failed, *_summary(result)]


def _summary(result: Mapping[str, Any]) -> list[str]:
    videos = result["videos"]
    if not videos:
        return []
    parts = ", ".join(
        f"{part} {statistics.fmean(row['seconds'][part] for row in videos):.2f}"
        for part in videos[0]["seconds"]
    )
    lines = [f"{len(videos):,} predicted, {result['protocol']}; mean seconds: {parts}"]
    if result["cascade"] is not None:
        asked = sum(len(row["streams"]) > 1 for row in videos)
        lines.append(f"all streams were asked about {asked:,} of {len(videos):,} videos")
    return lines
