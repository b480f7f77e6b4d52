"""Results over several splits as tables of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion.evaluation.results import class_lines, columns, weights_text


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


def fuse_splits_lines(result: Mapping[str, Any]) -> list[str]:
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
    percents = [row[measure] for measure in ("top1", "top5", "mean_class")]
    return ["-" if percent is None else f"{percent:.2f} %" for percent in percents]


def tune_splits_lines(result: Mapping[str, Any]) -> list[str]:
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
    return " ".join(filter(None, ("exact sign-flip test of", what, several)))


def compare_splits_lines(result: Mapping[str, Any]) -> list[str]:
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
        f"{result['videos']} videos, {result['answers']} answers; intervals by bootstrap of "
        f"{'videos' if result['groups'] is None else 'groups'} within the splits",
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
