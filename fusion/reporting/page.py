"""The report as one HTML file: no network, no script."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape, unescape
from typing import Any

from fusion.reporting import sections
from fusion.reporting.content import Content
from fusion.reporting.markup import bullet_list, details, paragraph, section, table

OPEN_WARNINGS = 3  # so many can be read at once; a longer list opens on a click
SECTIONS = {
    "results": ("Results", sections.results_section),
    "weights": ("Weights", sections.weights_section),
    "accuracy": ("Classes", sections.accuracy_section),
    "confusion": ("Confusion", sections.confusion_section),
    "gains": ("Gains", sections.classes_section),
    "calibration": ("Calibration", sections.calibration_section),
    "segments": ("Segments", sections.segments_section),
    "videos": ("Videos", sections.videos_section),
    "training": ("Training", sections.training_section),
    "inputs": ("Inputs", sections.inputs_section),
}


def report_page(
    contents: Sequence[Content],
    *,
    title: str,
    command: str = "",
    facts: Mapping[str, str] | None = None,
    forms: Mapping[str, Any] | None = None,
    overview: str = "",
    lead: Sequence[str] = (),
) -> str:
    """The whole page; the same content gives the same bytes.

    Args:
        contents: of the splits, one or several.
        command: what repeats the report.
        facts: what else is told at its end: date, versions, ...
        forms: as `weigh_forms` returns them, of one split.
        overview, lead: of several splits, a section about all of them, and the verdict.
    """
    if len(contents) == 1 and not overview:
        (content,) = contents
        lead, warnings = sections.verdict(content), content.warnings
        links = [(name, label) for name, (label, _) in SECTIONS.items()]
        blocks = [_sections(content)]
        if forms:
            links.insert(1, ("forms", "Forms"))
            blocks.insert(0, sections.forms_section(forms))
    else:
        warnings, blocks = [], [overview]
        links = [("splits", "Splits")] if overview else []
        for content in contents:
            title_of_split = "All videos" if content.split is None else f"Split {content.split}"
            split = "split" if content.split is None else f"split{content.split}"
            links.append((split, title_of_split))
            ids = {f"{split}-{name}": label for name, (label, _) in SECTIONS.items()}
            html = re.sub(
                r'(<section id|data-name|download)="', rf'\1="{split}-', _sections(content)
            )
            verdict = _verdict(sections.verdict(content), content.warnings)
            blocks.append(
                f'<div class="split" id="{split}"><h2 class="split">{title_of_split}</h2>'
                f"{verdict}{_nav(ids, title_of_split)}{html}</div>"
            )
    links.append(("repeat", "Repeat"))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{_verdict(lead, warnings)}</header>"
        f"{_nav(dict(links), 'Sections')}"
        f"<main>{''.join(blocks)}{_repeat(contents, command, facts or {})}</main>"
        "</body></html>\n"
    )


def _sections(content: Content) -> str:
    return "".join(make(content) for _, make in SECTIONS.values())


def _nav(links: Mapping[str, str], label: str) -> str:
    """Links to sections, by their ids."""
    items = "".join(f'<li><a href="#{to}">{escape(text)}</a></li>' for to, text in links.items())
    return f'<nav aria-label="{escape(label)}"><ul>{items}</ul></nav>'


def figures(page: str) -> dict[str, str]:
    """The figures of a page by their names, each as a whole SVG file."""
    files: dict[str, str] = {}
    for name, rest in re.findall(r'<svg data-name="([^"]+)" (.*?</svg>)', page, re.DOTALL):
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', rest)
        assert box is not None  # as `drawing` writes it
        opening, _, inner = rest.partition(">")  # in an attribute it would be escaped
        opening = re.sub(r' style="[^"]*"', "", opening)
        plain = re.sub(r"[^\w.-]+", "-", unescape(name)).strip("-.") or "figure"
        key = plain if plain not in files else f"{plain}-{len(files)}"
        files[key] = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{box[1]}" height="{box[2]}" {opening}>'
            f"<style>{STYLE_OF_FIGURES}</style>{inner}\n"
        )
    return files


def _verdict(lines: Sequence[str], warnings: Sequence[str]) -> str:
    if not lines:
        return ""
    first, *others = lines
    shown = paragraph(first, "lead") + bullet_list(others, "verdict")
    if warnings:
        count = "A warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
        listed = details(count, bullet_list(warnings), is_open=len(warnings) <= OPEN_WARNINGS)
        shown += f'<div class="warning">{listed}</div>'
    return shown


def _repeat(contents: Sequence[Content], command: str, facts: Mapping[str, str]) -> str:
    """The command, by its files too, and facts."""
    parts = []
    if command:
        parts.append(f"<pre>{escape(command)}</pre>")
    rows = [*facts.items(), ("seed of the intervals", str(contents[0].seed))]
    for content in contents:
        for stream, about in content.streams.metadata.items():
            where = f"split {about['split']}, " if "split" in about else ""
            rows.append((f"{where}{stream}: scores, sha256", about["scores_sha256"]))
            for library, version in (about.get("versions") or {}).items():
                rows.append((f"{where}{stream}: {library}", str(version)))
    parts.append(table(("fact", "value"), rows, name="facts"))
    return section("repeat", "How this page was made", *parts)


# Light and dark, narrow and wide, and on paper.
STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --sheet: #f4f5f7; --text: #1b1f24;
  --soft: #57606a; --line: #d0d7de; --shade: #8c959f66;
  --blue: #0a62b8; --orange: #c2570c; --green: #1a7f37; --purple: #7a3fd0; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0f1318; --sheet: #1a2028; --text: #e6e9ed; --soft: #9aa5b1;
    --line: #343d48; --shade: #00000099;
    --blue: #5fb0ff; --orange: #ff9d57; --green: #56d364; --purple: #c9a4ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 1rem 1.2rem 4rem; background: var(--page);
  color: var(--text); font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0.6rem 0 0.2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 0.6rem; padding-top: 0.9rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 0.3rem; }
p { max-width: 46rem; margin: 0.4rem 0; }
p.lead { font-size: 1.15rem; }
p.soft, figcaption { color: var(--soft); }
a { color: var(--blue); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; padding: 0; }
ul { padding-left: 1.2rem; max-width: 60rem; overflow-wrap: anywhere; }
ul.names { columns: 22rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr));
  gap: 1rem 2rem; align-items: start; }
figure { margin: 0.8rem 0; min-width: 0; }
figcaption { font-size: 0.9rem; max-width: 46rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 13px; fill: var(--text); }
svg text.title { fill: var(--soft); }
svg text.small { font-size: 11px; }
svg text.count { font-size: 14px; pointer-events: none; }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--soft); stroke-width: 1; }
.ideal { stroke: var(--soft); stroke-dasharray: 4 4; }
.whisker { stroke: var(--blue); stroke-width: 2; }
.mark { fill: var(--blue); }
.mark.other { fill: var(--orange); }
.mark.third { fill: var(--green); }
.mark.fourth { fill: var(--purple); }
.curve { fill: none; stroke: var(--blue); stroke-width: 2; }
.curve.other { stroke: var(--orange); stroke-dasharray: 7 3; }
.curve.third { stroke: var(--green); stroke-dasharray: 2 3; }
.gain { fill: var(--blue); } .loss { fill: var(--orange); }
.sheet { fill: var(--sheet); }
.right { fill: var(--blue); } .wrong { fill: var(--orange); }
.scroll { overflow-x: auto; max-width: 100%; }
/* A shadow where there is more to scroll to: the covers move with the content, shadows do not. */
.scroll { background: linear-gradient(to right, var(--page) 40%, transparent) left,
  linear-gradient(to left, var(--page) 40%, transparent) right,
  linear-gradient(to right, var(--shade), transparent) left,
  linear-gradient(to left, var(--shade), transparent) right;
  background-size: 40px 100%, 40px 100%, 14px 100%, 14px 100%; background-repeat: no-repeat;
  background-attachment: local, local, scroll, scroll; }
a.csv { font-size: 0.85rem; white-space: nowrap; }
table { border-collapse: collapse; font-size: 0.92rem; }
th, td { padding: 0.25rem 0.7rem 0.25rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.chosen td { font-weight: 700; }
pre { background: var(--sheet); padding: 0.8rem; border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.warning { border-left: 4px solid var(--orange); padding-left: 0.8rem; }
summary { cursor: pointer; color: var(--blue); padding: 0.3rem 0; }
.matrix { overflow: auto; max-height: 85vh; }
.matrix figure { width: max-content; }
.matrix svg { max-width: none; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
.pictures figure { flex: 1 1 340px; max-width: 390px; margin: 0; }
.pictures img { width: 49%; margin-right: 1%; }
.pictures figcaption p, .pictures ul { margin: 0; overflow-wrap: anywhere; }
ul.verdict { padding-left: 1.2rem; margin: 0.4rem 0; max-width: 52rem; }
h2.split { font-size: 1.5rem; border-top: 3px solid var(--line); margin-top: 3rem; }
@media (max-width: 600px) { body { padding: 0.6rem 0.8rem 3rem; } h1 { font-size: 1.35rem; }
  ul.names { columns: 1; } }
@media print { :root { --page: #fff; --text: #000; --soft: #444; --sheet: #f4f5f7;
    font-size: 10pt; }
  body { max-width: none; padding: 0; font-size: 1rem; line-height: 1.35; }
  nav, a.csv { display: none; } a { color: inherit; }
  p, ul, ul.verdict, figcaption { max-width: none; }
  h2 { margin: 1.2rem 0 0.4rem; padding-top: 0.6rem; break-after: avoid; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  summary { list-style: none; color: var(--soft); break-after: avoid; }
  .scroll, .matrix { overflow: visible; max-height: none; background: none; }
  .matrix figure { width: auto; } .matrix svg { max-width: 100%; }
  .charts { grid-template-columns: 1fr 1fr; gap: 0 1rem; }
  .charts figure:has(table) { grid-column: 1 / -1; }
  table, ul.names { font-size: 0.8rem; } ul.names { columns: 2; }
  th, td { padding: 0.1rem 0.7rem 0.1rem 0; }
  figure, tr { break-inside: avoid; } figure:has(table) { break-inside: auto; }
  section > p:not(:last-child), figcaption:has(+ .scroll) { break-after: avoid; } }
"""

# What the figures need of it, in files of their own: light, as on paper.
STYLE_OF_FIGURES = (
    ":root { --page: #fff; --sheet: #f4f5f7; --text: #1b1f24; --soft: #57606a; --line: #d0d7de; "
    "--blue: #0a62b8; --orange: #c2570c; --green: #1a7f37; --purple: #7a3fd0; } "
    'svg { font: 13px "DejaVu Sans", sans-serif; background: #fff; } '
    + " ".join(
        line
        for line in STYLE.splitlines()
        if line.startswith((".grid", ".axis", ".ideal", ".whisker", ".mark", ".curve", ".gain",
                            ".sheet", ".right", "svg text"))
    )
)  # fmt: skip
