from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from fusion.reporting.page import SECTIONS
from twostream.cli import cli

EMPTY = {"meta", "link", "input"}


class Checker(HTMLParser):
    """Notes the tags, and that each is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_all_sections_are_there_and_linked(page: str) -> None:
    for name in (*SECTIONS, "repeat"):
        assert f'<section id="{name}">' in page
        assert f'<a href="#{name}">' in page


def test_the_page_is_well_formed_and_needs_nothing_else(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    assert not checker.open
    assert "script" not in checker.tags
    assert set(re.findall(r'(?:src|href)="([^"#]*)', page)) == {"data:,", ""}
    assert "url(" not in page
    assert "http" not in page


def test_names_stay_text(page: str) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;clip&lt;/b&gt;/v_g" in page
    assert "<title>A &lt;report&gt;</title>" in page
    assert "<b>" not in page


def test_every_chart_is_sound_and_says_what_it_shows(page: str) -> None:
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert (
        len(charts) >= 10
    )  # intervals, weights, matrix, gains, 2 reliability, 2 segments, 4 training
    for chart in charts:
        root = ElementTree.fromstring(chart)
        assert root.get("role") == "img"
        assert len(root.get("aria-label", "")) > 30
        assert "nan" not in chart.lower().replace("nance", "")


def test_the_numbers_are_those_of_compare(page: str, runs: Path) -> None:
    files = [str(runs / stream) for stream in ("spatial", "motion")]
    compared = CliRunner().invoke(cli, ["compare", *files, "--groups", r"_(g\d+)_"]).output
    for line in compared.splitlines():
        if found := re.match(r"([a-z]\w+) +(\d+/80) +([\d.]+) %", line):
            cells = f'<td>{found[1]}</td><td class="number">{found[2]}</td>'
            assert f'{cells}<td class="number">{found[3]}</td>' in page


def test_the_same_files_give_the_same_page(
    page: str, write_report: Callable[..., str], tmp_path: Path
) -> None:
    options = ("--groups", r"_(g\d+)_", "--title", "A <report>")
    assert write_report(tmp_path / "again.html", *options) == page


def test_without_groups_nothing_is_chosen(write_report: Callable[..., str], tmp_path: Path) -> None:
    page = write_report(tmp_path / "plain.html", "--strategy", "max", "--shown", "max")
    assert "No weight was chosen on other videos" in page
    assert "Not calibrated" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--shown", "none"], "--shown 'none' is none of the results: spatial, motion, mean")],
)
def test_what_cannot_be_shown(runs: Path, tmp_path: Path, options: list[str], message: str) -> None:
    files = [str(runs / stream) for stream in ("spatial", "motion")]
    result = CliRunner().invoke(cli, ["report", *files, *options, "--out", str(tmp_path / "r")])
    assert result.exit_code == 2
    assert message in result.output
