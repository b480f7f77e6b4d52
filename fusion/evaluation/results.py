"""Results of fuse, compare and tune, of one split or several: JSON values, and tables of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import Fusion
from fusion.evaluation.diagnosis import diagnose
from fusion.evaluation.metrics import accuracy_summary
from twostream_base.errors import printable

AXES = ("streams", "segments", "crops")
MEASURES = ("top1", "top5", "mean_class")


def fusion_result(
    fusion: Fusion, *, files: Mapping[str, Sequence[Path]], unfitted: np.ndarray | None = None
) -> dict[str, Any]:
    """Accuracy of each input, of which these are the `files`, and of their fusion.

    Args:
        unfitted: fused scores (V, C) without what was fitted on labels, if anything was.
    """
    table, metadata = fusion.table, fusion.table.metadata
    strategy = metadata["streams"]["strategy"]
    groups = fusion.streams.groups
    fused = accuracy_summary(fusion.scores, table.labels, groups)
    inputs = {
        key: accuracy_summary(scores, table.labels, groups)
        for key, scores in fusion.streams.scores.items()
    }
    without = None if unfitted is None else accuracy_summary(unfitted, table.labels, groups)
    answers = fusion.scores.argmax(axis=1)
    warnings = [*fusion.warnings, *diagnose(fusion.streams, answers, strategy=strategy)]
    if fused["unlabelled"]:
        warnings.append(
            f"{fused['unlabelled']} of {len(table.names)} videos have no label and are not in the "
            "accuracies"
        )
    best = max(inputs, key=lambda key: inputs[key]["top1"]["correct"])
    alone, together = (summary["top1"] for summary in (inputs[best], fused))
    if len(inputs) > 1 and together["of"] and together["correct"] <= alone["correct"]:
        warnings.append(
            f"fusion gets {together['correct']} of {together['of']} videos right, no more than "
            f"{best} alone ({alone['correct']})"
        )
    return {
        "videos": len(table.names),
        "strategy": strategy,
        "segments": metadata["segments"]["strategy"],
        "combine": metadata["combine"],
        "options": {
            axis: {key: value for key, value in metadata[axis].items() if key != "strategy"}
            for axis in AXES
        },
        "inputs": [
            {"stream": key, "file": ", ".join(map(str, files[key]))} | summary
            for key, summary in inputs.items()
        ],
        "fused": fused,
        "unfitted": without,
        "calibration": None,
        "fitted_on": metadata.get("fitted_on"),
        "warnings": warnings,
    }


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines with aligned columns."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def accuracy_text(count: Mapping[str, Any]) -> str:
    """k/N, percent and interval of a `metrics.proportion`."""
    if count["of"] == 0:
        return "no labels"
    low, high = count["interval"]
    share = f"{count['correct']}/{count['of']}"
    return f"{share}  {count['percent']:.2f} % [{low:.2f}, {high:.2f}]"


def interval_basis(groups: int | None, videos: int) -> str:
    """What the intervals of accuracies take for granted, after the word `intervals`."""
    if groups is None:
        return "as if the videos were independent (--groups)"
    return "of independent videos" if groups == videos else f"by {groups} whole groups"


def accuracy_cells(summary: Mapping[str, Any]) -> tuple[str, str, str]:
    """Top-1, top-5 and mean class accuracy of `evaluate`, as texts."""
    average = summary["mean_class"]["percent"]
    return (
        accuracy_text(summary["top1"]),
        accuracy_text(summary["top5"]),
        "-" if average is None else f"{average:.2f} %",
    )


def weights_text(weights: Mapping[str, float]) -> str:
    """Weights as the option --weights takes them."""
    return ",".join(f"{key}={weight:.4g}" for key, weight in weights.items())


def fusion_lines(result: Mapping[str, Any]) -> list[str]:
    """A row for each input and the fused one, and the warnings below."""
    if "splits" in result:
        return _fuse_splits_lines(result)
    rows = [("", "top-1", "top-5", "mean class")]
    rows += [(row["stream"], *accuracy_cells(row)) for row in result["inputs"]]
    rows.append((f"fused ({result['strategy']})", *accuracy_cells(result["fused"])))
    if result["unfitted"]:
        what = "calibration" if result["calibration"] else "learning"
        strategy = result["strategy"] if result["calibration"] else "mean"
        rows.append((f"without {what} ({strategy})", *accuracy_cells(result["unfitted"])))
    basis = interval_basis(result["fused"]["groups"], result["fused"]["top1"]["of"])
    lines = [
        f"{result['videos']} videos, segments fused by {result['segments']}; intervals {basis}",
        "",
        *columns(rows),
    ]
    if result["calibration"]:
        rows = [("calibrated", "temperature", "calibration error", "cross-entropy")]
        for key, facts in result["calibration"].items():
            changes = [
                "no labels"
                if facts["before"][figure] is None
                else f"{facts['before'][figure]:.3f} -> {facts['after'][figure]:.3f}"
                for figure in ("ece", "nll")
            ]
            rows.append((key, _range(facts["temperatures"]), changes[0], changes[1]))
        lines += ["", *columns(rows)]
    if result["fitted_on"]:
        lines += ["", f"fitted on: {result['fitted_on']}"]
    return [*lines, *(f"warning: {text}" for text in result["warnings"])]


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"


def test_used(compared: Mapping[str, Any]) -> str:
    """Which test a result of `compare` was made by, and what it takes for granted."""
    if compared["groups"] is None:
        return (
            "exact McNemar test, as if the videos were independent (which belong together is not "
            "known: --groups)"
        )
    if compared["groups"] == compared["videos"]:
        return "exact McNemar test (each video is a group of its own)"
    few = _few_groups(compared["groups"])
    return f"exact sign-flip test of {compared['groups']} whole groups{few}"


def _few_groups(groups: int | None) -> str:
    few = groups is not None and groups < 6
    return "; of fewer than 6 groups it is never below 0.05" if few else ""


def compare_lines(result: Mapping[str, Any]) -> list[str]:
    """Results, pairs, complementarity, segments and classes, one table each."""
    if "splits" in result:
        return _compare_splits_lines(result)
    systems = sorted(result["systems"], key=lambda system: -system["correct"])
    pairs = [("difference in points", "", "95 %", "only first", "only second", "p", "smallest")]
    for pair in result["pairs"]:
        low, high = pair["interval"]
        pairs.append(
            (
                f"{pair['first']} - {pair['second']}",
                f"{pair['difference']:+.2f}",
                f"[{low:+.2f}, {high:+.2f}]",
                str(pair["only_first"]),
                str(pair["only_second"]),
                f"{pair['p_holm']:.2g}{' *' if pair['significant'] else ''}",
                "-" if pair["smallest"] is None else f"{pair['smallest']:.2f}",
            )
        )
    basis = interval_basis(result["groups"], result["videos"])
    lines = [
        f"{result['videos']} videos; intervals {basis}, those of differences hold what the test "
        "does not reject",
        "",
        *columns([("", "top-1"), *((row["name"], accuracy_text(row)) for row in systems)]),
        "",
        *columns(pairs),
        f"p: {test_used(result)}, after Holm's correction; *: below 0.05, and 0 is not in the "
        "interval",
        f"smallest: the difference that so many {result['unit']} reveal with a power of 80 %",
    ]
    lines += [f"{name}: fitted on {labels}" for name, labels in result["fitted_on"].items()]
    facts = result["complementarity"]
    if facts["pairs"]:
        rows = [("streams", "Q", "both wrong")]
        for pair in facts["pairs"]:
            q = "-" if pair["q"] is None else f"{pair['q']:.2f}"
            both_wrong = accuracy_text(pair["double_fault"])
            rows.append((f"{pair['first']}, {pair['second']}", q, both_wrong))
        lines += ["", *columns(rows)]
        lines.append(f"at least one stream is right: {accuracy_text(facts['oracle'])}")
    for stream, segments in result["segments"].items():
        rows = [(f"segment of {stream}", "alone", "all the others")]
        for row in segments:
            without = accuracy_text(row["without"]) if row["without"] else "-"
            rows.append((str(row["segment"]), accuracy_text(row["alone"]), without))
        lines += ["", *columns(rows)]
    if result["classes"]:
        lines += ["", *class_lines(result["classes"])]
    return [*lines, *(f"warning: {text}" for text in result["warnings"])]


def class_lines(classes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The right videos of each class by each result."""
    names = list(classes[0]["correct"])
    table: list[tuple[str, ...]] = [("class", "videos", *names)]
    for row in classes:
        counts = (str(row["correct"][name]) for name in names)
        table.append((row["class"], str(row["videos"]), *counts))
    return columns(table)


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
    rows = [("", "top-1", "weights")]
    if result["held_out"]:
        held_out = accuracy_text(result["held_out"])
        rows.append(("held out", held_out, weights_text(result["weights"])))
    rows += [
        ("equal weights", accuracy_text(result["equal"]), "1 each"),
        ("best on these videos", accuracy_text(picked), weights_text(picked["weights"])),
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
            ("cascade", accuracy_text(cascade["top1"]), flow),
            ("always both", accuracy_text(cascade["always"]), "flow for 100 %"),
            ("first stream only", accuracy_text(cascade["never"]), "no flow"),
        ]
        margin = _range(cascade["thresholds"])
        lines += ["", *columns(rows), f"flow where the first stream's margin is below {margin}"]
    return [*lines, *(f"warning: {text}" for text in result.get("warnings", []))]


def share_text(count: Mapping[str, Any]) -> str:
    """k/N and percent of a `metrics.proportion`."""
    if count["of"] == 0:
        return "no labels"
    return f"{count['correct']}/{count['of']}  {count['percent']:.2f} %"


def splits_text(result: Mapping[str, Any]) -> str:
    """Which splits a result is the mean of, and which are not there."""
    numbers = [str(row["split"]) for row in result["splits"]]
    listed = ", ".join(numbers)
    text = f"splits {listed}; the mean is of these {len(numbers)}"
    if len(numbers) == 1:
        text = f"split {listed}"
    return "; ".join([text, *result["missing"]])


def _fuse_splits_lines(result: Mapping[str, Any]) -> list[str]:
    """A row for each input and the fused one, a column for each split, and the means."""
    splits = result["splits"]
    rows = [
        ("", *(f"split {row['split']}" for row in splits), "mean top-1", "mean top-5", "mean class")
    ]
    for number, row in enumerate(result["inputs"]):
        counts = [of_split["inputs"][number]["top1"] for of_split in splits]
        rows.append((row["stream"], *map(share_text, counts), *_means(row)))
    names = {"fused": f"fused ({result['strategy']})", "unfitted": "without what was fitted"}
    for key, name in names.items():
        if result[key]:
            counts = [of_split[key]["top1"] for of_split in splits]
            rows.append((name, *map(share_text, counts), *_means(result[key])))
    lines = [splits_text(result), f"segments fused by {result['segments']}", "", *columns(rows)]
    if result["fitted_on"]:
        lines += ["", f"fitted on: {result['fitted_on']}"]
    return [*lines, *(f"warning: {text}" for text in result["warnings"])]


def _means(row: Mapping[str, Any]) -> list[str]:
    percents = [row[measure] for measure in MEASURES]
    return ["-" if percent is None else f"{percent:.2f} %" for percent in percents]


def _tune_splits_lines(result: Mapping[str, Any]) -> list[str]:
    """The accuracy by weights of each split, and the weights."""
    splits = result["splits"]
    rows = [("", *(f"split {row['split']}" for row in splits), "mean")]
    for key, name in (
        ("held_out", "held out"),
        ("equal", "equal weights"),
        ("picked", "best on these videos"),
    ):
        if result[key] is not None:
            shares = [share_text(row[key]) for row in splits]
            rows.append((name, *shares, f"{result[key]:.2f} %"))
    rows.append(
        (
            "weights",
            *(weights_text(row["weights"]) for row in splits),
            weights_text(result["weights"]),
        )
    )
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
        lines.append("CHOSEN ON THESE VERY VIDEOS: not an estimate of accuracy")
    return [*lines, *(f"warning: {text}" for text in result["warnings"])]


def pooled_test(result: Mapping[str, Any]) -> str:
    """Which test a result of `compare_over_splits` was made by."""
    several = "within the splits" if len(result["splits"]) > 1 else ""
    if result["groups"] is None:
        what = "videos, as if they were independent (which belong together is not known: --groups)"
    else:
        what = f"{result['groups']} whole groups"
    test = " ".join(filter(None, ("exact sign-flip test of", what, several)))
    return test + _few_groups(result["groups"])


def _compare_splits_lines(result: Mapping[str, Any]) -> list[str]:
    """Results over the splits, the pairs within them, and classes."""
    systems = sorted(result["systems"], key=lambda system: -system["percent"])
    rows = [("", *(f"split {split}" for split in result["splits"]), "mean", "95 %")]
    for row in systems:
        low, high = row["interval"]
        shares = [f"{of['correct'][0]}/{of['of']}  {of['percent']:.2f} %" for of in row["splits"]]
        rows.append((row["name"], *shares, f"{row['percent']:.2f} %", f"[{low:.2f}, {high:.2f}]"))
    pairs = [("difference in points", "mean", "95 %", "by split", "p")]
    for pair in result["pairs"]:
        low, high = pair["interval"]
        pairs.append(
            (
                f"{pair['first']} - {pair['second']}",
                f"{pair['difference']:+.2f}",
                f"[{low:+.2f}, {high:+.2f}]",
                " ".join(f"{difference:+.2f}" for difference in pair["splits"]),
                f"{pair['p_holm']:.2g}{' *' if pair['significant'] else ''}",
            )
        )
    shown = {"splits": [{"split": split} for split in result["splits"]]}
    lines = [
        splits_text(shown | {"missing": result["missing"]}),
        f"{result['videos']} videos, {result['answers']} answers; intervals "
        f"{interval_basis(result['groups'], result['videos'])}, those of differences hold what the "
        "test does not reject",
        "",
        *columns(rows),
        "",
        *columns(pairs),
        f"p: {pooled_test(result)}, after Holm's correction; *: below 0.05, and 0 is not in the "
        "interval",
    ]
    lines += [f"{name}: fitted on {labels}" for name, labels in result["fitted_on"].items()]
    if result["classes"]:
        lines += ["", *class_lines(result["classes"])]
    return [*lines, *(f"warning: {text}" for text in result["warnings"])]
