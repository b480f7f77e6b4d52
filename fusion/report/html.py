"""HTML from plain values: every text is escaped here; a class called <script> stays text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(heading: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> str:
    """A table that scrolls where it is too wide; cells of numbers do not wrap."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heading)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table>{above}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def items(texts: Iterable[str], kind: str = "") -> str:
    """A list of plain texts."""
    return f'<ul class="{kind}">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>'


def figure(drawing: str, caption: str) -> str:
    """A chart (SVG) with a line below it."""
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def folded(summary: str, content: str) -> str:
    """Content that opens on a click; open on paper."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def section(name: str, title: str, *content: str) -> str:
    """A section of the page that links lead to."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{"".join(content)}</section>'


def _cell(value: object) -> str:
    text = str(value)
    number = text.lstrip("+-")[:1].isdigit()
    return f'<td class="number">{escape(text)}</td>' if number else f"<td>{escape(text)}</td>"
