"""HTML and SVG from plain values; every text is escaped here."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from twostream_base.text import csv_text

WIDTH = 440


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high`, drawn from pixel `start` to pixel `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        share = (value - self.low) / (self.high - self.low or 1)
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """About `about` round values from low to high, in steps of 1, 2 or 5 times a power of 10."""
    rough = (high - low or 1) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * number, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def span(values: Iterable[float], *, margin: float = 0.05) -> tuple[float, float]:
    """Lowest and highest value with a margin, never an empty span.

    Values that are equal but for rounding are one value: ticks between them would tell nothing.
    """
    listed = list(values)
    low, high = min(listed), max(listed)
    size = max(abs(low), abs(high), 1)
    pad = margin * (high - low if high - low > 2e-6 * size else size)
    return low - pad, high + pad


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line; `kind` is its class in the style sheet."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def rect(
    x: float,
    y: float,
    width: float,
    height: float,
    kind: str,
    *,
    title: str = "",
    opacity: float = 1.0,
) -> str:
    """A rectangle; a title is shown when the pointer rests on it."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    size = f'width="{max(width, 0):.2f}" height="{max(height, 0):.2f}"'
    shade = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
    return f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" {size}{shade}>{tip}</rect>'


def circle(x: float, y: float, kind: str, *, radius: float = 4, title: str = "") -> str:
    """A filled circle."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}">{tip}</circle>'


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "") -> str:
    """A text; `anchor` is start, middle or end."""
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through pixels."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{places}"/>'


def frame(x: Axis, y: Axis, *, x_title: str, y_title: str) -> list[str]:
    """Grid, tick labels and titles of two numeric axes; y runs upwards."""
    parts = []
    for value in ticks(y.low, y.high):
        parts.append(line(x.start, y(value), x.end, y(value), "grid"))
        parts.append(text(x.start - 6, y(value) + 4, f"{value:g}", anchor="end"))
    for value in ticks(x.low, x.high):
        parts.append(line(x(value), y.start, x(value), y.start + 4, "axis"))
        parts.append(text(x(value), y.start + 18, f"{value:g}", anchor="middle"))
    parts.append(line(x.start, y.start, x.end, y.start, "axis"))
    parts.append(text((x.start + x.end) / 2, y.start + 36, x_title, anchor="middle", kind="title"))
    parts.append(text(4, y.end - 10, y_title, kind="title"))
    return parts


def drawing(
    parts: Iterable[str],
    *,
    height: float,
    title: str,
    description: str,
    width: float = WIDTH,
    fixed: bool = False,
) -> str:
    """A whole SVG with its title and a description of what it shows, for screen readers.

    Args:
        fixed: drawn at its size in pixels, in a box that scrolls, not fitted to the page.
    """
    label = escape(f"{title}. {description}")
    style = f' style="width:{width:.0f}px"' if fixed else ""
    return (
        f'<svg role="img" viewBox="0 0 {width:g} {height:g}"{style} aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(
    heading: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    name: str,
    caption: str = "",
    strong: object = None,
) -> str:
    """A table that scrolls where it is too wide, with a link to its rows as a CSV file.

    Args:
        name: of the file, without suffix.
        strong: the first cell of the row that stands out.
    """
    listed = [list(row) for row in rows]
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heading)
    body = "".join(
        f"<tr{' class=chosen' if row[0] == strong else ''}>{''.join(map(_cell, row))}</tr>"
        for row in listed
    )
    link = csv_link(name, [list(heading), *listed])
    return (
        # Above the box that scrolls: what it says is as wide as the page, not as the table.
        f"<figure><figcaption>{escape(caption)} {link}</figcaption>"
        f'<div class="scroll" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></figure>"
    )


def csv_link(name: str, rows: Iterable[Sequence[object]], text: str = "CSV") -> str:
    """A link that saves rows as a CSV file; they are within the page."""
    data = quote(csv_text(rows), safe=",.:;/()-_")
    href = f"data:text/csv;charset=utf-8,{data}"
    return f'<a class="csv" download="{escape(name)}.csv" href="{href}">{escape(text)}</a>'


def bullet_list(texts: Iterable[str], kind: str = "") -> str:
    """A list of plain texts."""
    return f'<ul class="{kind}">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>'


def figure(drawing: str, caption: str, *, name: str) -> str:
    """A chart (SVG) with a line below it; `name` is that of its file."""
    named = drawing.replace("<svg ", f'<svg data-name="{escape(name)}" ', 1)
    return f"<figure>{named}<figcaption>{escape(caption)}</figcaption></figure>"


def charts(*figures: str) -> str:
    """Figures side by side, as many as there is room for."""
    return f'<div class="charts">{"".join(figures)}</div>'


def image(jpeg: bytes, text: str) -> str:
    """A picture within the page; `text` is what it shows."""
    data = b64encode(jpeg).decode()
    return f'<img alt="{escape(text)}" src="data:image/jpeg;base64,{data}">'


def heading(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def details(summary: str, content: str, *, is_open: bool = False) -> str:
    """Content that opens on a click; open on paper."""
    state = " open" if is_open else ""
    return f"<details{state}><summary>{escape(summary)}</summary>{content}</details>"


def section(name: str, title: str, *content: str) -> str:
    """A section of the page that links lead to."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{"".join(content)}</section>'


def _cell(value: object) -> str:
    text = str(value)
    number = text.lstrip("+-")[:1].isdigit()
    return f'<td class="number">{escape(text)}</td>' if number else f"<td>{escape(text)}</td>"
