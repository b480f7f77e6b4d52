"""The result of a fusion as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion.combining.fuse import Fusion
from fusion.evaluation.diagnosis import diagnose
from fusion.evaluation.metrics import accuracy_summary
from fusion.tables.score_file import ScoreTable

AXES = ("streams", "segments", "crops")


def fusion_result(fusion: Fusion, *, files: Mapping[str, str]) -> dict[str, Any]:
    """Accuracy of each input and of their fusion; `files` is what a reader is told of each."""
    labels, strategy = fusion.labels, fusion.table.metadata["streams"]["strategy"]
    found = diagnose(fusion.streams, fusion.scores, strategy=strategy)
    return summarise(
        fusion.table,
        inputs={key: accuracy_summary(s, labels) for key, s in fusion.streams.scores.items()},
        fused=accuracy_summary(fusion.scores, labels),
        warnings=[*fusion.warnings, *found],
        files=files,
    )


def summarise(
    table: ScoreTable,
    *,
    inputs: Mapping[str, dict[str, Any]],
    fused: dict[str, Any],
    warnings: Sequence[str],
    files: Mapping[str, str],
) -> dict[str, Any]:
    """A result from the accuracies of its inputs and the header of its fused table."""
    metadata = table.metadata
    options = {
        axis: {key: value for key, value in metadata[axis].items() if key != "strategy"}
        for axis in AXES
    }
    unlabelled = (
        f"{fused['unlabelled']} of {len(table.names)} videos have no label and are not in the "
        "accuracies"
    )
    return {
        "videos": len(table.names),
        "strategy": metadata["streams"]["strategy"],
        "segments": metadata["segments"]["strategy"],
        "combine": metadata["combine"],
        "options": options,
        "inputs": [
            {"stream": key, "file": files[key]} | summary for key, summary in inputs.items()
        ],
        "fused": fused,
        "calibration": None,
        "warnings": [*warnings, *([unlabelled] if fused["unlabelled"] else [])],
    }
