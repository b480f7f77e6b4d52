"""The result of a fusion, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusion.combining.fuse import Fusion
from fusion.combining.video_scores import Votes
from fusion.evaluation.diagnosis import diagnose
from fusion.fitting.calibrate_tables import Calibrated
from fusion.fitting.weight_search import weight_curve
from fusion.metrics import accuracy_summary
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError
from twostream_base.files import write_text

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


def cascade_lines(result: Mapping[str, Any]) -> list[str]:
    """The result for people."""
    rows = [
        ("cascade", accuracy_text(result["top1"]), f"flow for {result['flow']['percent']:.1f} %"),
        ("always both", accuracy_text(result["always"]), "flow for 100 %"),
        ("first stream only", accuracy_text(result["never"]), "no flow"),
    ]
    low, high = min(result["thresholds"]), max(result["thresholds"])
    span = f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
    return ["", *columns(rows), f"flow where the first stream's lead is below {span}"]


# The result of `twostream compare` for people.
def compare_lines(result: Mapping[str, Any]) -> list[str]:
    """Results, pairs, what the streams have in common, segments and classes, one table each."""
    lines = [
        f"{result['videos']} videos; intervals by bootstrap of {result['bootstrap']}",
        "",
        *columns([("", "top-1"), *_systems(result["systems"])]),
        "",
        *columns([_PAIR_HEADING, *map(_pair, result["pairs"])]),
        "p: exact McNemar, after Holm's correction; *: below 0.05",
        "smallest: the difference that so many videos show four times in five",
        *_complementarity(result["complementarity"]),
    ]
    for stream, rows in result["segments"].items():
        lines += [
            "",
            *columns([(f"segment of {stream}", "alone", "all the others"), *_segments(rows)]),
        ]
    lines += _classes(result["classes"])
    return [*lines, *(f"warning: {text}" for text in result["warnings"])]


_PAIR_HEADING = ("difference in points", "", "95 %", "only first", "only second", "p", "smallest")


def _systems(systems: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    best = sorted(systems, key=lambda system: -system["correct"])
    return [(system["name"], accuracy_text(system)) for system in best]


def _pair(pair: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = pair["interval"]
    mark = " *" if pair["p_holm"] < 0.05 else ""
    return (
        f"{pair['first']} - {pair['second']}",
        f"{pair['difference']:+.2f}",
        f"[{low:+.2f}, {high:+.2f}]",
        str(pair["only_first"]),
        str(pair["only_second"]),
        f"{pair['p_holm']:.2g}{mark}",
        "-" if pair["smallest"] is None else f"{pair['smallest']:.2f}",
    )


def _complementarity(facts: Mapping[str, Any]) -> list[str]:
    if not facts["pairs"]:
        return []
    rows = [("streams", "Q", "both wrong")]
    for pair in facts["pairs"]:
        q = "-" if pair["q"] is None else f"{pair['q']:.2f}"
        rows.append((f"{pair['first']}, {pair['second']}", q, accuracy_text(pair["double_fault"])))
    oracle = f"at least one stream is right: {accuracy_text(facts['oracle'])}"
    return ["", *columns(rows), oracle]


def _segments(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            str(row["segment"]),
            accuracy_text(row["alone"]),
            accuracy_text(row["without"]) if row["without"] else "-",
        )
        for row in rows
    ]


def _classes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    names = list(rows[0]["correct"])
    table = [("class", "videos", *names)]
    for row in rows:
        table.append((row["class"], str(row["videos"]), *(str(row["correct"][n]) for n in names)))
    return ["", *columns(table)]


# The result of `twostream tune` for people, and the exact curve as a CSV file.
_CHOSEN = {
    "val": "chosen on the validation scores",
    "crossfit": "chosen in grouped folds, each judged by the weights of the others",
    "test": "CHOSEN ON THESE VERY VIDEOS: not an estimate of anything",
}


def tune_lines(result: Mapping[str, Any]) -> list[str]:
    """The weights, what they are worth, and how much a choice on test would flatter."""
    rows = [("", "top-1", "weights")]
    if result["held_out"]:
        rows.append(
            ("held out", accuracy_text(result["held_out"]), weights_text(result["weights"]))
        )
    rows.append(("equal weights", accuracy_text(result["equal"]), "1 each"))
    picked = result["picked"]
    rows.append(("picked on these videos", accuracy_text(picked), weights_text(picked["weights"])))
    lines = [f"{result['videos']} videos, {_CHOSEN[result['chosen_on']]}", "", *columns(rows), ""]
    for number, fold in enumerate(result.get("folds", []), start=1):
        of_fold = fold["held_out"]
        lines.append(
            f"without fold {number}: {weights_text(fold['weights'])}, "
            f"there {of_fold['correct']}/{of_fold['of']} right"
        )
    if "spread" in result:
        lines.append(f"spread over the folds: {weights_text(result['spread'])}")
    if result["optimism"] is not None:
        lines.append(f"a choice on these videos would flatter by {result['optimism']:.2f} points")
    lines.append(f"use: --strategy weighted --weights {weights_text(result['weights'])}")
    return lines + (cascade_lines(result["cascade"]) if "cascade" in result else [])


def weights_text(weights: Mapping[str, float]) -> str:
    """As `--weights` takes them."""
    return ",".join(f"{key}={weight:.4g}" for key, weight in weights.items())


def write_curve(path: Path, votes: Votes) -> None:
    """Write the exact curve of two streams: a row for each weight at which the count changes.

    Raises:
        InputError: not two streams.
    """
    if len(votes.scores) != 2:
        raise InputError(f"--curve is for two streams; these are {len(votes.scores)}")
    known = votes.labels >= 0
    first, second = (stream[known] for stream in votes.scores.values())
    weights, counts = weight_curve(first, second, votes.labels[known]).steps()
    name = next(iter(votes.scores))
    rows = [f"{weight!r},{count}" for weight, count in zip(weights.tolist(), counts, strict=True)]
    write_text(path, "\n".join([f"weight of {name} from,correct", *rows]) + "\n")
