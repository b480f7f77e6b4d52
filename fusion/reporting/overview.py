"""The part of the report that is about several splits, networks and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion.evaluation.metrics import shown_measures
from fusion.evaluation.results import interval_text, p_text
from fusion.reporting import table_formats
from fusion.reporting.charts import interval_chart
from fusion.reporting.markup import (
    bullet_list,
    charts,
    csv_link,
    details,
    figure,
    paragraph,
    section,
    table,
)

Table = Mapping[str, Any]


def overview_verdict(table: Table) -> list[str]:
    """The result over splits and seeds in sentences."""
    best = next(row for row in table["rows"] if row["name"] == table["best"])
    splits = [split for split in table["splits"] if split is not None]
    over = f"{len(splits)} splits" if splits else "all seeds"
    if len(splits) == 1:
        over = f"split {splits[0]}"
    deviation = ""
    if best["sd"] is not None:
        deviation = f" ± {best['sd']:.2f} over {len(best['seeds'])} seeds"
    groups = table["test"]["groups"]
    basis, tested = f"by {groups} whole groups", f"{groups} whole groups"
    if not groups:
        basis = "as if the videos were independent (--groups)"
        tested = "videos, taken as independent,"
    shown = shown_measures(table["num_classes"])
    of_five = f"Top-5: {best['top5']:.2f} %. " if "top5" in shown else ""
    lines = [
        f"{best['name']} gets {best['percent']:.2f} %{deviation} of the videos right (top-1, mean "
        f"of {over}; 95 % interval {interval_text(best['interval'])}, {basis}).",
        f"{of_five}Mean of the class accuracies: {best['mean_class']:.2f} %.",
    ]
    streams = [row for row in table["rows"] if not row["fusion"] and row["percent"] is not None]
    if streams and best["fusion"]:
        alone = max(streams, key=lambda row: row["percent"])
        pair = alone["below_best"]
        finding = "a difference that holds" if pair["significant"] else "no difference that holds"
        seeds = ""
        if pair["seeds"]:
            seeds = f"; better in {pair['seeds']['better']} of {pair['seeds']['seeds']} seeds"
        lines.append(
            f"Against the best stream alone, {alone['name']} ({alone['percent']:.2f} %): "
            f"{pair['difference']:+.2f} points ({interval_text(pair['interval'], sign='+')}), "
            f"{finding}: p = "
            f"{pair['p_holm']:.2g} after correction for {table['test']['tested']} pairs, by an "
            f"exact sign-flip test of {tested} within the splits{seeds}."
        )
    fusions = sum(bool(row["fusion"]) for row in table["rows"])
    if best["fusion"] and fusions > 1:
        lines.append(
            f"It is the best of {fusions} fusions on these very videos, which flatters it a little."
        )
    if best["fitted_on"]:
        plain = best["label"].removesuffix(", calibrated")
        without = [
            row["percent"]
            for row in table["rows"]
            if (row["system"], row["label"]) == (best["system"], plain) and row is not best
        ]
        text = f"; without, it is {without[0]:.2f} %" if without and without[0] else ""
        lines.append(f"Something in it was fitted on {best['fitted_on']}{text}.")
    if missing := table["missing"]:
        listed = ", ".join(map(str, missing))
        lines.append(f"Not there: split{'s' if len(missing) > 1 else ''} {listed}.")
    return lines


def overview_section(result: Table) -> str:
    """All inputs and fusions over the splits, as `twostream table` has them, and their test."""
    columns = [f"split {split}" for split in result["splits"] if split is not None] or [
        "all videos"
    ]
    systems = any(row["system"] for row in result["rows"])
    heading = ["result", *columns, "mean, %", "95 % interval", "not below the best"]
    if systems:
        heading.insert(0, "network")
    rows = []
    for row in result["rows"]:
        cells = [row["system"]] if systems else []
        cells.append(row["label"])
        for cell in row["splits"]:
            counts = ", ".join(map(str, cell["correct"]))
            share = "-" if cell["percent"] is None else f"{cell['percent']:.2f}"
            cells.append(f"{share} ({counts} of {cell['of']})" if counts else "-")
        if row["percent"] is None:
            cells += ["-", "-", "-"]
        else:
            deviation = "" if row["sd"] is None else f" ± {row['sd']:.2f}"
            cells += [f"{row['percent']:.2f}{deviation}", interval_text(row["interval"])]
            cells.append("yes" if row["bold"] else "no")
        rows.append(cells)
    alike = len({tuple(row["inputs"]) for row in result["rows"] if row["fusion"]}) == 1
    charted = [
        {**row, "name": f"{row['system']} {row['fusion']}".strip()}
        if row["fusion"] and alike
        else row
        for row in result["rows"]
        if row["percent"] is not None
    ]
    charted.sort(key=lambda row: -row["percent"])
    streams = [row["name"] for row in charted if not row["fusion"]]
    chart = interval_chart(
        charted, title="Mean over the splits", reference=streams[0] if streams else None
    )
    pairs = []
    for pair in filter(None, (row["below_best"] for row in result["rows"])):
        by_split = " ".join(f"{of_split:+.2f}" for of_split in pair["splits"])
        seeds = pair["seeds"]
        better = f"better in {seeds['better']} of {seeds['seeds']}" if seeds else "-"
        difference = f"{pair['difference']:+.2f}"
        interval = interval_text(pair["interval"], sign="+")
        pairs.append([pair["second"], difference, interval, by_split, p_text(pair), better])
    tests = ""
    if pairs:
        against = f"{result['best']} against"
        columns = [against, "difference", "95 % interval", "by split", "p, Holm", "seeds"]
        tests = table(columns, pairs, name="splits-tests")
    caption = " ".join(table_formats.caption(result))
    warnings = ""
    if count := len(result["warnings"]):
        listed = details(f"{count} warnings", bullet_list(result["warnings"]))
        warnings = f'<div class="warning">{listed}</div>'
    return section(
        "splits",
        "All splits, networks and seeds",
        charts(
            figure(
                chart,
                "Mean over the splits, with 95 % intervals by whole groups; "
                "the dashed line is the best stream.",
                name="splits",
            )
        ),
        table(heading, rows, name="splits"),
        paragraph(caption.replace("Bold:", "Not below the best:"), "soft"),
        f"<p>{csv_link('table', table_formats.csv_rows(result), 'All figures as CSV')}</p>",
        tests,
        warnings,
    )
