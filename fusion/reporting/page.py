"""The report as one HTML file: no network, no script."""

from __future__ import annotations

from html import escape

from fusion.reporting import sections
from fusion.reporting.content import Content
from fusion.reporting.markup import paragraph, section

SECTIONS = {
    "inputs": ("Inputs", sections.inputs_section),
    "results": ("Strategies", sections.results_section),
    "weights": ("Weights", sections.weights_section),
    "confusion": ("Confusion", sections.confusion_section),
    "classes": ("Classes", sections.classes_section),
    "calibration": ("Calibration", sections.calibration_section),
    "segments": ("Segments", sections.segments_section),
    "videos": ("Videos", sections.videos_section),
    "training": ("Training", sections.training_section),
}


def report_page(content: Content, *, title: str) -> str:
    """The whole page; the same content gives the same bytes."""
    links = "".join(
        f'<li><a href="#{name}">{label}</a></li>' for name, (label, _) in SECTIONS.items()
    )
    command = f"<pre>{escape(content.command)}</pre>"
    repeat, repeat_link = "", ""
    if content.command:
        repeat = section("repeat", "The command that repeats this report", command)
        repeat_link = '<li><a href="#repeat">Repeat</a></li>'
    body = "".join(make(content) for _, make in SECTIONS.values())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{_headline(content)}</header>"
        f'<nav aria-label="Sections"><ul>{links}{repeat_link}</ul></nav>'
        f"<main>{body}{repeat}</main></body></html>\n"
    )


def _headline(content: Content) -> str:
    systems = {system["name"]: system for system in content.compared["systems"]}
    shown, best = systems[content.shown], systems[content.best_stream()]
    low, high = shown["interval"]
    here = f"{content.shown}: {shown['percent']:.2f} % of {shown['of']:,} videos right"
    alone = f"the best stream alone, {best['name']}: {best['percent']:.2f} %"
    return paragraph(f"{here} ({low:.2f} to {high:.2f}); {alone}.", "lead")


# Light and dark, narrow and wide, and on paper.
STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --sheet: #f4f5f7; --text: #1b1f24;
  --soft: #57606a; --line: #d0d7de; --blue: #0a62b8; --orange: #c2570c; --green: #1a7f37; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0f1318; --sheet: #1a2028; --text: #e6e9ed; --soft: #9aa5b1;
    --line: #343d48; --blue: #5fb0ff; --orange: #ff9d57; --green: #56d364; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 1rem 1.2rem 4rem; background: var(--page);
  color: var(--text); font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0.6rem 0 0.2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 0.6rem; padding-top: 0.9rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 0.3rem; }
p { max-width: 46rem; margin: 0.4rem 0; }
p.lead { font-size: 1.15rem; }
p.soft, figcaption, caption { color: var(--soft); }
a { color: var(--blue); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; padding: 0; }
ul { padding-left: 1.2rem; max-width: 60rem; overflow-wrap: anywhere; }
ul.names { columns: 22rem; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
.charts > figure, .charts > .scroll { flex: 1 1 340px; max-width: 580px; }
figure { margin: 0.8rem 0; min-width: 0; }
figcaption, caption { font-size: 0.9rem; }
caption { text-align: left; padding-bottom: 0.3rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 13px; fill: var(--text); }
svg text.title { fill: var(--soft); }
svg text.count { font-size: 14px; pointer-events: none; }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--soft); stroke-width: 1; }
.ideal { stroke: var(--soft); stroke-dasharray: 4 4; }
.whisker { stroke: var(--blue); stroke-width: 2; }
.mark { fill: var(--blue); }
.mark.other { fill: var(--orange); }
.mark.third { fill: var(--green); }
.curve { fill: none; stroke: var(--blue); stroke-width: 2; }
.curve.other { stroke: var(--orange); stroke-dasharray: 7 3; }
.curve.third { stroke: var(--green); stroke-dasharray: 2 3; }
.gain { fill: var(--blue); } .loss { fill: var(--orange); }
.sheet { fill: var(--sheet); }
.right { fill: var(--blue); } .wrong { fill: var(--orange); }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: 0.92rem; }
th, td { padding: 0.25rem 0.7rem 0.25rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.chosen td { font-weight: 700; }
pre { background: var(--sheet); padding: 0.8rem; border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.warning { border-left: 4px solid var(--orange); padding-left: 0.8rem; }
summary { cursor: pointer; color: var(--blue); padding: 0.3rem 0; }
.matrix { overflow: auto; max-height: 85vh; }
.matrix svg { max-width: 640px; }
.zoom:checked ~ .matrix svg { width: 1800px; max-width: none; }
@media (max-width: 600px) { body { padding: 0.6rem 0.8rem 3rem; } h1 { font-size: 1.35rem; }
  ul.names { columns: 1; } }
@media print { :root { --page: #fff; --text: #000; --soft: #444; --sheet: #f4f5f7; }
  body { max-width: none; font-size: 11pt; } nav, .zoom, .zoom + label { display: none; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  section, figure, tr { break-inside: avoid; } h2 { break-after: avoid; }
  section { break-inside: auto; } a { color: inherit; } }
"""
