"""Results of fuse, compare and tune, of one split or several: JSON values, and tables of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import Fusion
from fusion.evaluation.diagnosis import diagnose
from fusion.evaluation.metrics import MEASURES, accuracy_summary, shown_measures
from twostream_base.errors import printable


def fusion_result(
    fusion: Fusion, *, files: Mapping[str, Sequence[Path]], unfitted: np.ndarray | None = None
) -> dict[str, Any]:
    """Accuracy of each input, of which these are the `files`, and of their fusion.

    Args:
        unfitted: fused scores (V, C) without what was fitted on labels, if anything was.
    """
    streams, metadata = fusion.streams, fusion.table.metadata
    strategy = metadata["streams"]["strategy"]
    summarise = partial(accuracy_summary, labels=streams.labels, groups=streams.groups)
    fused = summarise(fusion.scores)
    inputs = {key: summarise(scores) for key, scores in streams.scores.items()}
    answers = fusion.scores.argmax(axis=1)
    warnings = [*fusion.warnings, *diagnose(streams, answers, strategy=strategy)]
    if fused["unlabelled"]:
        warnings.append(
            f"{fused['unlabelled']} of {len(streams.names)} videos have no label and are not in "
            "the accuracies"
        )
    best = max(inputs, key=lambda key: inputs[key]["top1"]["correct"])
    alone, together = inputs[best]["top1"], fused["top1"]
    if len(inputs) > 1 and together["of"] and together["correct"] <= alone["correct"]:
        warnings.append(
            f"fusion gets {together['correct']} of {together['of']} videos right, no more than "
            f"{best} alone ({alone['correct']})"
        )
    return {
        "videos": len(streams.names),
        "num_classes": len(streams.class_names),
        "strategy": strategy,
        "segments": metadata["segments"]["strategy"],
        "combine": metadata["combine"],
        "options": {
            axis: {key: value for key, value in metadata[axis].items() if key != "strategy"}
            for axis in ("streams", "segments", "crops")
        },
        "inputs": [
            {"stream": key, "file": ", ".join(map(str, files[key]))} | summary
            for key, summary in inputs.items()
        ],
        "fused": fused,
        "unfitted": None if unfitted is None else summarise(unfitted),
        "calibration": None,
        "fitted_on": metadata.get("fitted_on"),
        "warnings": warnings,
    }


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with aligned columns."""
    rows = [list(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def share_text(count: Mapping[str, Any]) -> str:
    """k/N and percent of a `metrics.proportion`."""
    if count["of"] == 0:
        return "no labels"
    return f"{count['correct']}/{count['of']}  {count['percent']:.2f} %"


def accuracy_text(count: Mapping[str, Any]) -> str:
    """k/N, percent and interval of a `metrics.proportion`."""
    if count["of"] == 0:
        return "no labels"
    low, high = count["interval"]
    return f"{share_text(count)} [{low:.2f}, {high:.2f}]"


def interval_text(ends: Sequence[float], *, sign: str = "", decimals: int = 2) -> str:
    """The ends of an interval: `84.20 to 88.10`; of a difference, with the sign `+`."""
    low, high = ends
    return f"{low:{sign}.{decimals}f} to {high:{sign}.{decimals}f}"


def interval_basis(groups: int | None, videos: int, *, cure: str = "--groups") -> str:
    """What the intervals of accuracies take for granted, after the word `intervals`."""
    if groups is None:
        return f"as if the videos were independent ({cure})"
    return "of independent videos" if groups == videos else f"by {groups} whole groups"


def accuracy_cells(summary: Mapping[str, Any], classes: int) -> dict[str, str]:
    """Top-1, top-5 where it tells anything, and mean class accuracy of `evaluate`, by name."""
    average = summary["mean_class"]["percent"]
    cells = {
        "top1": accuracy_text(summary["top1"]),
        "top5": accuracy_text(summary["top5"]),
        "mean_class": "-" if average is None else f"{average:.2f} %",
    }
    return {MEASURES[measure]: cells[measure] for measure in shown_measures(classes)}


def weights_text(weights: Mapping[str, float]) -> str:
    """Weights as the option --weights takes them."""
    return ",".join(f"{key}={weight:.4g}" for key, weight in weights.items())


def _notes(result: Mapping[str, Any]) -> list[str]:
    """What was fitted, and the warnings: the last lines of a result."""
    fits = ["", f"fitted on: {result['fitted_on']}"] if result["fitted_on"] else []
    return fits + [f"warning: {text}" for text in result["warnings"]]


def fusion_lines(result: Mapping[str, Any]) -> list[str]:
    """A row for each input and the fused one, over several splits with their mean; warnings."""
    if "splits" in result:
        return _fusion_lines_of_splits(result)
    results = {row["stream"]: row for row in result["inputs"]}
    results[f"fused ({result['strategy']})"] = result["fused"]
    if result["unfitted"]:
        what = "calibration" if result["calibration"] else "learning"
        strategy = result["strategy"] if result["calibration"] else "mean"
        results[f"without {what} ({strategy})"] = result["unfitted"]
    cells = {name: accuracy_cells(of, result["num_classes"]) for name, of in results.items()}
    rows = [["", *next(iter(cells.values()))]]
    rows += [[name, *of_result.values()] for name, of_result in cells.items()]
    basis = interval_basis(result["fused"]["groups"], result["fused"]["top1"]["of"])
    lines = [
        f"{result['videos']} videos, segments fused by {result['segments']}; intervals {basis}",
        "",
        *columns(rows),
    ]
    if result["calibration"]:
        rows = [["calibrated", "temperature", "calibration error", "cross-entropy"]]
        for key, facts in result["calibration"].items():
            changes = [
                "no labels"
                if facts["before"][figure] is None
                else f"{facts['before'][figure]:.3f} -> {facts['after'][figure]:.3f}"
                for figure in ("ece", "nll")
            ]
            rows.append([key, _range(facts["temperatures"]), *changes])
        lines += ["", *columns(rows)]
    return lines + _notes(result)


def _fusion_lines_of_splits(result: Mapping[str, Any]) -> list[str]:
    """A column for each split, and the means."""
    splits = result["splits"]
    results = [
        (row["stream"], row, [split["inputs"][number] for split in splits])
        for number, row in enumerate(result["inputs"])
    ]
    fused = f"fused ({result['strategy']})"
    results.append((fused, result["fused"], [split["fused"] for split in splits]))
    if plain := result["unfitted"]:
        results.append(("without what was fitted", plain, [split["unfitted"] for split in splits]))
    shown = shown_measures(splits[0]["num_classes"])
    heading = [MEASURES[m] if m == "mean_class" else f"mean {MEASURES[m]}" for m in shown]
    rows = [["", *_split_names(splits), *heading]]
    for name, means, of_splits in results:
        counts = [share_text(summary["top1"]) for summary in of_splits]
        percents = ["-" if means[m] is None else f"{means[m]:.2f} %" for m in shown]
        rows.append([name, *counts, *percents])
    lines = [splits_text(result), f"segments fused by {result['segments']}", "", *columns(rows)]
    return lines + _notes(result)


def _split_names(splits: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"split {split['split']}" for split in splits]


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"


def splits_text(result: Mapping[str, Any]) -> str:
    """Which splits a result is the mean of, and which are not there."""
    numbers = [str(row["split"]) for row in result["splits"]]
    text = f"split {numbers[0]}"
    if len(numbers) > 1:
        text = f"splits {', '.join(numbers)}; the mean is of these {len(numbers)}"
    return "; ".join([text, *result["missing"]])


def test_used(compared: Mapping[str, Any]) -> str:
    """Which test a result of `compare` was made by, and what it takes for granted."""
    if compared["groups"] is None:
        return (
            "exact McNemar test, as if the videos were independent (which belong together is not "
            "known: --groups)"
        )
    if compared["groups"] == compared["videos"]:
        return "exact McNemar test (each video is a group of its own)"
    return f"exact sign-flip test of {compared['groups']} whole groups{_few_groups(compared)}"


def test_used_over_splits(compared: Mapping[str, Any]) -> str:
    """Which test a result of `compare_over_splits` was made by."""
    what = "videos, as if they were independent (which belong together is not known: --groups)"
    if compared["groups"] is not None:
        what = f"{compared['groups']} whole groups"
    within = " within the splits" if len(compared["splits"]) > 1 else ""
    return f"exact sign-flip test of {what}{within}{_few_groups(compared)}"


def _few_groups(compared: Mapping[str, Any]) -> str:
    few = compared["groups"] is not None and compared["groups"] < 6
    return "; of fewer than 6 groups it is never below 0.05" if few else ""


def p_text(pair: Mapping[str, Any]) -> str:
    """p after Holm's correction, with a mark where the difference is significant."""
    return f"{pair['p_holm']:.2g}{' *' if pair['significant'] else ''}"


def compare_lines(result: Mapping[str, Any]) -> list[str]:
    """Results, pairs, complementarity, segments and classes, one table each."""
    if "splits" in result:
        splits = [{"split": split} for split in result["splits"]]
        lines = [splits_text({"splits": splits, "missing": result["missing"]})]
        answers, test = f", {result['answers']} answers", test_used_over_splits(result)
        systems, pairs = _rows_over_splits(result, splits)
    else:
        lines, answers, test = [], "", test_used(result)
        systems, pairs = _rows_of_one_split(result)
    basis = interval_basis(result["groups"], result["videos"])
    lines += [
        f"{result['videos']} videos{answers}; intervals {basis}, those of differences hold what "
        "the test does not reject",
        "",
        *columns(systems),
        "",
        *columns(pairs),
        f"p: {test}, after Holm's correction; *: below 0.05, and 0 is not in the interval",
    ]
    if "splits" not in result:
        lines.append(
            f"smallest: the difference that so many {result['unit']} reveal with a power of 80 %"
        )
    lines += [f"{name}: fitted on {labels}" for name, labels in result["fitted_on"].items()]
    if result.get("complementarity", {}).get("pairs"):
        facts = result["complementarity"]
        rows = [["streams", "Q", "both wrong"]]
        for pair in facts["pairs"]:
            q = "-" if pair["q"] is None else f"{pair['q']:.2f}"
            rows.append(
                [f"{pair['first']}, {pair['second']}", q, accuracy_text(pair["double_fault"])]
            )
        lines += ["", *columns(rows)]
        lines.append(f"at least one stream is right: {accuracy_text(facts['oracle'])}")
    for stream, segments in result.get("segments", {}).items():
        rows = [[f"segment of {stream}", "alone", "all the others"]]
        for row in segments:
            without = accuracy_text(row["without"]) if row["without"] else "-"
            rows.append([str(row["segment"]), accuracy_text(row["alone"]), without])
        lines += ["", *columns(rows)]
    if result["classes"]:
        rows = [["class", "videos", *result["classes"][0]["correct"]]]
        rows += [
            [row["class"], str(row["videos"]), *map(str, row["correct"].values())]
            for row in result["classes"]
        ]
        lines += ["", *columns(rows)]
    return [*lines, *(f"warning: {text}" for text in result["warnings"])]


def _rows_of_one_split(result: Mapping[str, Any]) -> tuple[list[list[str]], list[list[str]]]:
    """The tables of the results of `compare`, the best first, and of its pairs."""
    systems = [["", "top-1"]]
    systems += [[row["name"], accuracy_text(row)] for row in _best_first(result["systems"])]
    pairs = [["difference in points", "", "95 %", "only first", "only second", "p", "smallest"]]
    for pair in result["pairs"]:
        only = [str(pair["only_first"]), str(pair["only_second"])]
        smallest = "-" if pair["smallest"] is None else f"{pair['smallest']:.2f}"
        pairs.append([*_difference_cells(pair), *only, p_text(pair), smallest])
    return systems, pairs


def _rows_over_splits(
    result: Mapping[str, Any], splits: Sequence[Mapping[str, Any]]
) -> tuple[list[list[str]], list[list[str]]]:
    """The same of `compare_over_splits`."""
    systems = [["", *_split_names(splits), "mean", "95 %"]]
    for row in _best_first(result["systems"]):
        low, high = row["interval"]
        shares = [share_text(of | {"correct": of["correct"][0]}) for of in row["splits"]]
        mean = [f"{row['percent']:.2f} %", f"[{low:.2f}, {high:.2f}]"]
        systems.append([row["name"], *shares, *mean])
    pairs = [["difference in points", "mean", "95 %", "by split", "p"]]
    for pair in result["pairs"]:
        by_split = " ".join(f"{difference:+.2f}" for difference in pair["splits"])
        pairs.append([*_difference_cells(pair), by_split, p_text(pair)])
    return systems, pairs


def _best_first(systems: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(systems, key=lambda system: -system["percent"])


def _difference_cells(pair: Mapping[str, Any]) -> list[str]:
    """The names of a pair, its difference and interval."""
    low, high = pair["interval"]
    names = f"{pair['first']} - {pair['second']}"
    return [names, f"{pair['difference']:+.2f}", f"[{low:+.2f}, {high:+.2f}]"]


_CHOSEN = {
    "val": "chosen on the validation scores",
    "crossfit": "chosen in grouped folds, each evaluated with the weights of the others",
    "test": "CHOSEN ON THESE VERY VIDEOS: not an estimate of accuracy",
}


def tune_lines(result: Mapping[str, Any]) -> list[str]:
    """The weights, their accuracy, and how optimistic a choice on test would be."""
    if "splits" in result:
        return _tune_splits_lines(result)
    picked = result["picked"]
    rows = [["", "top-1", "weights"]]
    if result["held_out"]:
        held_out = accuracy_text(result["held_out"])
        rows.append(["held out", held_out, weights_text(result["weights"])])
    rows += [
        ["equal weights", accuracy_text(result["equal"]), "1 each"],
        ["best on these videos", accuracy_text(picked), weights_text(picked["weights"])],
    ]
    lines = [
        f"{result['videos']} videos, {_CHOSEN[result['chosen_on']]}; intervals "
        f"{interval_basis(result['groups'], result['videos'])}",
        "",
        *columns(rows),
        "",
    ]
    if result["fitted_on"]:
        lines.append(f"fitted on: {result['fitted_on']}")
    for number, fold in enumerate(result.get("folds", []), start=1):
        of_fold = fold["held_out"]
        lines.append(
            f"without fold {number}: {weights_text(fold['weights'])}, "
            f"which get {of_fold['correct']}/{of_fold['of']} of it right"
        )
    if "spread" in result:
        lines.append(f"spread over the folds: {weights_text(result['spread'])}")
    if result["optimism"] is not None:
        lines.append(
            f"weights chosen on these videos would look {result['optimism']:.2f} points better"
        )
    lines.append(f"use: --strategy weighted --weights {weights_text(result['weights'])}")
    if "cascade" in result:
        cascade = result["cascade"]
        flow = f"flow for {cascade['flow']['percent']:.1f} %"
        rows = [
            ["cascade", accuracy_text(cascade["top1"]), flow],
            ["always both", accuracy_text(cascade["always"]), "flow for 100 %"],
            ["first stream only", accuracy_text(cascade["never"]), "no flow"],
        ]
        margin = _range(cascade["thresholds"])
        lines += ["", *columns(rows), f"flow where the first stream's margin is below {margin}"]
    return [*lines, *(f"warning: {text}" for text in result.get("warnings", []))]


def _tune_splits_lines(result: Mapping[str, Any]) -> list[str]:
    """The accuracy by weights of each split, and the weights."""
    splits = result["splits"]
    rows = [["", *_split_names(splits), "mean"]]
    names = {"held_out": "held out", "equal": "equal weights", "picked": "best on these videos"}
    for key, name in names.items():
        if result[key] is not None:
            shares = [share_text(row[key]) for row in splits]
            rows.append([name, *shares, f"{result[key]:.2f} %"])
    rows.append(["weights", *(weights_text(row["weights"]) for row in [*splits, result])])
    lines = [splits_text(result), "", *columns(rows)]
    if result["fitted_on"]:
        lines += ["", f"fitted on: {result['fitted_on']}"]
    for row in splits:
        if "cascade" in row:
            cascade = row["cascade"]
            lines.append(
                f"split {row['split']}: cascade {share_text(cascade['top1'])} with flow for "
                f"{cascade['flow']['percent']:.1f} % of the videos, always both "
                f"{share_text(cascade['always'])}"
            )
    if result["chosen_on"] == "test":
        lines.append(_CHOSEN["test"])
    return [*lines, *(f"warning: {text}" for text in result["warnings"])]
