"""The table of `twostream table` as Markdown, LaTeX and CSV; every text is escaped here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fusion.evaluation.metrics import shown_measures
from fusion.evaluation.results import interval_text, p_text
from twostream_base.errors import printable
from twostream_base.text import csv_text

Table = Mapping[str, Any]
_NAMES = {"ucf101": "UCF101", "hmdb51": "HMDB51"}
_FEW_COUNTS = 5  # of more seeds, a cell has the lowest and the highest count
_IN_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    # After the end of a line these would be its options.
    "[": "{[}", "]": "{]}", "*": "{*}", "±": r"$\pm$", "−": r"$-$",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}  # fmt: skip


def latex_text(text: str) -> str:
    """A text as LaTeX shows it, in one line."""
    return "".join(_IN_LATEX.get(char, char) for char in printable(text))


def markdown_text(text: str) -> str:
    """A text as Markdown shows it, in one line and one cell."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", printable(text).replace("&", "&amp;"))


def caption(table: Table) -> list[str]:
    """How the table was made, in sentences: data, protocol, selection, fits, tests."""
    dataset = table["dataset"]
    videos = f"{table['subset']} videos" + (
        f" of {_NAMES.get(dataset, dataset)}" if dataset else ""
    )
    seeds = sorted({len(row["seeds"]) for row in table["rows"]})
    several_seeds = seeds[-1] > 1
    first = f"Top-1 accuracy in % on the {videos}"
    splits = [split for split in table["splits"] if split is not None]
    if splits:
        first += f", {_listed('split', splits)}"
    if table["missing"]:
        missing = table["missing"]
        first += f" ({_listed('split', missing)} {'is' if len(missing) == 1 else 'are'} not there)"
    first += ", with the number of right videos"
    if len(table["splits"]) > 1:
        first += "; the mean is over the splits"
    if several_seeds:
        count = f"{seeds[-1]}" if len(seeds) == 1 else f"up to {seeds[-1]}"
        first += f"; ± is the standard deviation (n - 1) over {count} seeds"
    lines = [f"{first}."]
    for fact, text in (
        ("model", "Networks"), ("protocol", "Test protocol"), ("selected_on", "Epoch selected on"),
    ):  # fmt: skip
        values = table[fact]
        if fact == "model" and (any(row["system"] for row in table["rows"]) or len(values) > 3):
            continue
        if list(values) == ["not known"]:
            if fact != "model":
                lines.append(f"{text}: not known.")
        else:
            facts = [
                value if len(values) == 1 else f"{value} ({', '.join(of)})"
                for value, of in values.items()
            ]
            lines.append(f"{text}: {', '.join(facts)}.")
    if table["segments"] != "mean":
        lines.append(f"Segments fused by {table['segments']}.")
    if table["combine"]:
        lines.append(f"Fused: {'probabilities' if table['combine'] == 'probs' else 'logits'}.")
    fits: dict[str, list[str]] = {}
    for row in table["rows"]:
        if row["fitted_on"]:
            what = row["fusion"].rpartition(", ")[2] if row["fusion"] else row["label"]
            of_fit = fits.setdefault(row["fitted_on"], [])
            of_fit += [what] if what not in of_fit else []
    for labels, rows in fits.items():
        lines.append(f"Fitted on {labels}: {', '.join(rows)}.")
    without = [row["name"] for row in table["rows"] if row["percent"] is None]
    if without:
        lines.append(f"Not in all splits, and so without mean and test: {', '.join(without)}.")
    test = table["test"]
    if test["tested"]:
        within = " within the splits" if len(table["splits"]) > 1 else ""
        groups = (
            "videos, taken as independent, as which belong together is not known"
            if test["groups"] is None
            else f"{test['groups']} whole groups"
        )
        lines.append(
            f"Bold: the best, and what does not differ significantly from it: p of at least 0.05 "
            f"(exact sign-flip test{within} of {groups}; Holm's correction for {test['tested']} "
            f"pairs), or a 95 % interval{' over videos or seeds' if several_seeds else ''} that "
            "holds 0."
        )
    return lines


def markdown(table: Table, *, decimals: int = 2) -> str:
    """The table, its caption, and the differences from the best row."""
    heading, rows = _cells(table, decimals, markdown_text, lambda text: f"**{text}**")
    lines = [*_markdown_table(heading, rows), "", *map(markdown_text, caption(table))]
    pairs = _pair_cells(table, decimals)
    if pairs:
        heading = ["difference from the best, in points", "mean", "95 %", "p (Holm)"]
        heading += ["over seeds"] if len(pairs[0]) > len(heading) else []
        escaped = [[markdown_text(cell) for cell in row] for row in pairs]
        lines += ["", *_markdown_table(heading, escaped)]
    lines += [f"warning: {markdown_text(text)}" for text in table["warnings"]]
    return "\n".join(lines) + "\n"


def latex(table: Table, *, decimals: int = 2) -> str:
    """A table environment of booktabs; the differences from the best row are comments."""
    heading, rows = _cells(table, decimals, latex_text, lambda text: f"\\textbf{{{text}}}")
    names = len(heading) - len(_columns(table))
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{' '.join(map(latex_text, caption(table)))}}}",
        f"  \\begin{{tabular}}{{{'l' * names}{'r' * len(_columns(table))}}}",
        "    \\toprule",
        f"    {' & '.join(heading)} \\\\",
        "    \\midrule",
    ]
    previous = None
    for row, result in zip(rows, table["rows"], strict=True):
        if previous not in (None, result["system"]):
            lines.append("    \\midrule")
        previous = result["system"]
        lines.append(f"    {' & '.join(row)} \\\\")
    lines += ["    \\bottomrule", "  \\end{tabular}", "\\end{table}"]
    for pair in _pair_cells(table, decimals):
        name, mean, interval, p, *over_seeds = map(printable, pair)
        more = f"; {over_seeds[0]}" if over_seeds else ""
        lines.append(f"% {name}: {mean} points {interval}, p (Holm) {p}{more}")
    lines += [f"% warning: {printable(text)}" for text in table["warnings"]]
    return "\n".join(lines) + "\n"


def csv(table: Table, *, decimals: int = 2) -> str:
    """A line for each row, with all figures; spreadsheets run none of its texts.

    Percents are as exact as they are known; `decimals` has no effect.
    """
    return csv_text(csv_rows(table))


def csv_rows(table: Table) -> list[list[object]]:
    """The rows of the CSV file, the heading first."""
    systems = _has_systems(table)
    heading = ["system", "result", "seeds"] if systems else ["result", "seeds"]
    for split in table["splits"]:
        prefix = f"split {split} " if split is not None else ""
        heading += [f"{prefix}correct", f"{prefix}of", f"{prefix}%", f"{prefix}sd"]
    heading += [
        "mean %", "sd", "low", "high", "mean top-5 %", "mean class %", "bold",
        "below best by", "difference low", "difference high", "p", "p Holm", "fitted on",
    ]  # fmt: skip
    rows: list[list[object]] = [list(heading)]
    for row in table["rows"]:
        cells: list[object] = [row["system"]] if systems else []
        cells += [row["label"], " ".join(map(str, row["seeds"]))]
        for cell in row["splits"]:
            figures = [cell["percent"], cell["sd"]]
            cells += [" ".join(map(str, cell["correct"])), cell["of"]]
            cells += ["" if value is None else value for value in figures]
        low, high = row["interval"] or (None, None)
        pair = row["below_best"]
        top5 = row["top5"] if "top5" in shown_measures(table["num_classes"]) else None
        figures = [row["percent"], row["sd"], low, high, top5, row["mean_class"]]
        cells += ["" if value is None else value for value in figures]
        cells.append("yes" if row["bold"] else "no")
        if pair:
            cells += [pair["difference"], *pair["interval"], pair["p"], pair["p_holm"]]
        else:
            cells += [""] * 5
        rows.append([*cells, row["fitted_on"] or ""])
    return rows


TABLE_FORMATS: dict[str, Callable[..., str]] = {"markdown": markdown, "latex": latex, "csv": csv}


def _has_systems(table: Table) -> bool:
    return any(row["system"] for row in table["rows"])


def _columns(table: Table) -> list[str]:
    """The columns of figures."""
    splits = ["all videos" if split is None else f"split {split}" for split in table["splits"]]
    return [*splits, "mean"] if len(splits) > 1 else splits


def _cells(
    table: Table, decimals: int, escape: Callable[[str], str], bold: Callable[[str], str]
) -> tuple[list[str], list[list[str]]]:
    """Heading and rows, escaped."""
    systems = _has_systems(table)
    heading = ["input and fusion", *_columns(table)]
    if systems:
        heading.insert(0, "network")
    rows, previous = [], None
    for row in table["rows"]:
        cells = [escape(row["label"])]
        if systems:
            cells.insert(0, escape(row["system"]) if row["system"] != previous else "")
        previous = row["system"]
        several = len(row["splits"]) > 1
        for cell in row["splits"]:
            percent = _share(cell, decimals, escape)
            if row["bold"] and not several:
                percent = bold(percent)
            cells.append(percent + (escape(f" ({_counts(cell)})") if cell["correct"] else ""))
        if several:
            mean = _share(row, decimals, escape)
            cells.append(bold(mean) if row["bold"] else mean)
        rows.append(cells)
    return list(map(escape, heading)), rows


def _share(cell: Table, decimals: int, escape: Callable[[str], str]) -> str:
    if cell["percent"] is None:
        return "-"
    deviation = "" if cell["sd"] is None else f" ± {cell['sd']:.{decimals}f}"
    return escape(f"{cell['percent']:.{decimals}f}{deviation}")


def _counts(cell: Table) -> str:
    """`1115/1530`, of seeds `1115, 1110, 1120 of 1530`."""
    counts = cell["correct"]
    if len(counts) == 1:
        return f"{counts[0]}/{cell['of']}"
    if len(counts) > _FEW_COUNTS:
        return f"{min(counts)} to {max(counts)} of {cell['of']}"
    return f"{', '.join(map(str, counts))} of {cell['of']}"


def _pair_cells(table: Table, decimals: int) -> list[list[str]]:
    """Of each other row: how far it is below the best one."""
    rows = []
    pairs = [row["below_best"] for row in table["rows"] if row["below_best"]]
    several_seeds = any(pair["seeds"] for pair in pairs)
    one_system = len({row["system"] for row in table["rows"]}) == 1
    names = {row["name"]: row["label" if one_system else "name"] for row in table["rows"]}
    for pair in pairs:
        cells = [
            f"{names[pair['first']]} - {names[pair['second']]}",
            f"{pair['difference']:+.{decimals}f}",
            interval_text(pair["interval"], sign="+", decimals=decimals),
            p_text(pair),
        ]
        if facts := pair["seeds"]:
            over_seeds = interval_text(facts["interval"], sign="+", decimals=decimals)
            cells.append(f"{facts['better']} of {facts['seeds']} better, {over_seeds}")
        elif several_seeds:
            cells.append("one seed")
        rows.append(cells)
    return rows


def _listed(word: str, numbers: Sequence[object]) -> str:
    """`split 1`, `splits 1 and 2`, `splits 1, 2 and 3`."""
    texts = list(map(str, numbers))
    if len(texts) == 1:
        return f"{word} {texts[0]}"
    return f"{word}s {', '.join(texts[:-1])} and {texts[-1]}"


def _markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    return [line(heading), f"|{'|'.join('-' * (width + 2) for width in widths)}|", *map(line, rows)]
