"""The report as one HTML file: no network, no script."""

from __future__ import annotations

from html import escape

from fusion.report.content import Content
from fusion.report.html import paragraph, section
from fusion.report.sections import (
    calibration_section,
    inputs_section,
    results_section,
    segments_section,
    training_section,
    weights_section,
)
from fusion.report.style import STYLE
from fusion.report.video_sections import classes_section, confusion_section, videos_section

SECTIONS = {
    "inputs": ("Inputs", inputs_section),
    "results": ("Strategies", results_section),
    "weights": ("Weights", weights_section),
    "confusion": ("Confusion", confusion_section),
    "classes": ("Classes", classes_section),
    "calibration": ("Calibration", calibration_section),
    "segments": ("Segments", segments_section),
    "videos": ("Videos", videos_section),
    "training": ("Training", training_section),
}


def report_page(content: Content, *, title: str) -> str:
    """The whole page; the same content gives the same bytes."""
    links = "".join(
        f'<li><a href="#{name}">{label}</a></li>' for name, (label, _) in SECTIONS.items()
    )
    body = "".join(make(content) for _, make in SECTIONS.values())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{_headline(content)}</header>"
        f'<nav aria-label="Sections"><ul>{links}<li><a href="#repeat">Repeat</a></li></ul></nav>'
        f"<main>{body}{_repeat(content)}</main></body></html>\n"
    )


def _headline(content: Content) -> str:
    systems = {one["name"]: one for one in content.compared["systems"]}
    one, best = systems[content.shown], systems[content.best_stream()]
    low, high = one["interval"]
    here = f"{content.shown}: {one['percent']:.2f} % of {one['of']:,} videos right"
    alone = f"the best stream alone, {best['name']}: {best['percent']:.2f} %"
    return paragraph(f"{here} ({low:.2f} to {high:.2f}); {alone}.", "lead")


def _repeat(content: Content) -> str:
    command = f"<pre>{escape(content.command)}</pre>"
    return section("repeat", "The command that repeats this report", command)
