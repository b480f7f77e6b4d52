"""The part of the report that is about several splits, networks and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion.evaluation.metrics import tells_top5
from fusion.evaluation.results import p_text
from fusion.reporting import table_formats
from fusion.reporting.charts import interval_chart
from fusion.reporting.markup import (
    bullet_list,
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
    splits = [str(split) for split in table["splits"] if split is not None]
    over = f"split {splits[0]}" if len(splits) == 1 else f"{len(splits)} splits"
    over = over if splits else "all seeds"
    low, high = best["interval"]
    deviation = ""
    if best["sd"] is not None:
        deviation = f" ± {best['sd']:.2f} over {len(best['seeds'])} seeds"
    of_five = f"Top-5: {best['top5']:.2f} %. " if tells_top5(table["classes"]) else ""
    missing = table["missing"]
    groups = table["test"]["groups"]
    basis = (
        f"by {groups} whole groups" if groups else "as if the videos were independent (--groups)"
    )
    lines = [
        f"{best['name']} gets {best['percent']:.2f} %{deviation} of the videos right (top-1, mean "
        f"of {over}; 95 % interval {low:.2f} to {high:.2f}, {basis}).",
        f"{of_five}Mean of the class accuracies: {best['mean_class']:.2f} %.",
    ]
    streams = [row for row in table["rows"] if not row["fusion"] and row["percent"] is not None]
    if streams and best["fusion"]:
        alone = max(streams, key=lambda row: row["percent"])
        pair = alone["below_best"]
        low, high = pair["interval"]
        finding = "a difference that holds" if pair["significant"] else "no difference that holds"
        seeds = ""
        if pair["seeds"]:
            seeds = f"; better in {pair['seeds']['better']} of {pair['seeds']['seeds']} seeds"
        what = f"{groups} whole groups" if groups else "videos, taken as independent,"
        lines.append(
            f"Against the best stream alone, {alone['name']} ({alone['percent']:.2f} %): "
            f"{pair['difference']:+.2f} points ({low:+.2f} to {high:+.2f}), {finding}: p = "
            f"{pair['p_holm']:.2g} after correction for {table['test']['tested']} pairs, by an "
            f"exact sign-flip test of {what} within the splits{seeds}."
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
    if missing:
        listed = ", ".join(map(str, missing))
        lines.append(f"Not there: split{'s' if len(missing) > 1 else ''} {listed}.")
    return lines


def overview_section(result: Table) -> str:
    """All inputs and fusions over the splits, as `twostream table` has them, and their test."""
    columns = [f"split {split}" for split in result["splits"] if split is not None] or [
        "all videos"
    ]
    systems = any(row["system"] for row in result["rows"])
    heading = [*(["network"] if systems else []), "result", *columns, "mean, %", "95 % interval",
               "not below the best"]  # fmt: skip
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
            low, high = row["interval"]
            cells += [f"{row['percent']:.2f}{deviation}", f"{low:.2f} to {high:.2f}"]
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
    for row in result["rows"]:
        if pair := row["below_best"]:
            low, high = pair["interval"]
            seeds = pair["seeds"]
            pairs.append(
                (
                    pair["second"], f"{pair['difference']:+.2f}", f"{low:+.2f} to {high:+.2f}",
                    " ".join(f"{of_split:+.2f}" for of_split in pair["splits"]),
                    p_text(pair),
                    f"better in {seeds['better']} of {seeds['seeds']}" if seeds else "-",
                )
            )  # fmt: skip
    warnings = result["warnings"]
    return section(
        "splits",
        "All splits, networks and seeds",
        '<div class="charts">',
        figure(
            chart,
            "Mean over the splits, with 95 % intervals by whole groups; "
            "the dashed line is the best stream.",
            name="splits",
        ),
        "</div>",
        table(heading, rows, name="splits"),
        paragraph(" ".join(table_formats.caption(result)).replace("Bold:", "Not below the best:"),
                  "soft"),
        f"<p>{csv_link('table', table_formats.csv_rows(result), 'All figures as CSV')}</p>",
        table(
            (f"{result['best']} against", "difference", "95 % interval", "by split", "p, Holm",
             "seeds"),
            pairs, name="splits-tests",
        )
        if pairs
        else "",
        f'<div class="warning">{details(f"{len(warnings)} warnings", bullet_list(warnings))}</div>'
        if warnings
        else "",
    )  # fmt: skip
