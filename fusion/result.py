"""The result of a fusion, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion.calibrated import Calibrated
from fusion.diagnosis import diagnose
from fusion.fuse import Fusion
from fusion.metrics import accuracy_summary
from fusion.score_file import ScoreTable

STEPS = ("streams", "segments", "crops")


def fusion_result(
    fusion: Fusion, *, files: Mapping[str, str], calibrated: Calibrated | None = None
) -> dict[str, Any]:
    """Accuracy of each input and of their fusion, as JSON values; `files` is the file of each."""
    table = fusion.table
    inputs = {
        key: accuracy_summary(scores, table.labels) for key, scores in fusion.votes.scores.items()
    }
    fused = accuracy_summary(table.scores[:, 0, 0], table.labels)
    strategy = table.about["streams"]["strategy"]
    found = diagnose(fusion.votes, table.scores[:, 0, 0], strategy=strategy)
    result = described(
        table, inputs=inputs, fused=fused, warnings=[*fusion.warnings, *found], files=files
    )
    return result | {"calibration": _calibration(calibrated) if calibrated else None}


def described(
    table: ScoreTable,
    *,
    inputs: Mapping[str, dict[str, Any]],
    fused: dict[str, Any],
    warnings: Sequence[str],
    files: Mapping[str, str],
) -> dict[str, Any]:
    """A result from the accuracies of its inputs and the header of its fused table."""
    unlabelled = (
        f"{fused['unlabelled']} of {len(table.names)} videos have no label and are not in the "
        "accuracies"
    )
    return {
        "videos": len(table.names),
        "strategy": table.about["streams"]["strategy"],
        "segments": table.about["segments"]["strategy"],
        "combine": table.about["combine"],
        "options": {step: _options(table.about[step]) for step in STEPS},
        "inputs": [
            {"stream": key, "file": files[key]} | summary for key, summary in inputs.items()
        ],
        "fused": fused,
        "calibration": None,
        "warnings": [*warnings, *([unlabelled] if fused["unlabelled"] else [])],
    }


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """The same as a table, a row for each input and the fused one, and the warnings below."""
    rows = [("", "top-1", "top-5", "mean class")]
    rows += [(row["stream"], *accuracy_cells(row)) for row in result["inputs"]]
    rows.append((f"fused ({result['strategy']})", *accuracy_cells(result["fused"])))
    heading = f"{result['videos']} videos, segments fused by {result['segments']}"
    return [
        heading,
        "",
        *columns(rows),
        *_calibration_lines(result["calibration"] or {}),
        *(f"warning: {text}" for text in result["warnings"]),
    ]


def accuracy_cells(summary: Mapping[str, Any]) -> tuple[str, str, str]:
    """Top-1, top-5 and mean class accuracy of `accuracy_summary`, as texts."""
    average = summary["mean_class"]["percent"]
    return (
        accuracy_text(summary["top1"]),
        accuracy_text(summary["top5"]),
        "-" if average is None else f"{average:.2f} %",
    )


def accuracy_text(count: Mapping[str, Any]) -> str:
    """k/N, percent and interval of a `metrics.proportion`."""
    if count["of"] == 0:
        return "no labels"
    low, high = count["interval"]
    share = f"{count['correct']}/{count['of']}"
    return f"{share}  {count['percent']:.2f} % [{low:.2f}, {high:.2f}]"


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines in which the cells stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _calibration(calibrated: Calibrated) -> dict[str, Any]:
    return {
        key: table.about["calibration"]
        | {"before": calibrated.before[key], "after": calibrated.after[key]}
        for key, table in calibrated.tables.items()
    }


def _calibration_lines(calibration: Mapping[str, Any]) -> list[str]:
    if not calibration:
        return []
    rows = [("calibrated", "temperature", "calibration error", "cross-entropy")]
    for key, facts in calibration.items():
        low, high = min(facts["temperatures"]), max(facts["temperatures"])
        span = f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
        rows.append((key, span, _change(facts, "ece"), _change(facts, "nll")))
    return ["", *columns(rows)]


def _change(facts: Mapping[str, Any], figure: str) -> str:
    if facts["before"][figure] is None:
        return "no labels"
    return f"{facts['before'][figure]:.3f} -> {facts['after'][figure]:.3f}"


def _options(step: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in step.items() if key != "strategy"}
