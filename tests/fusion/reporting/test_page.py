from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from fusion.reporting.page import SECTIONS, STYLE
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
    links = set(re.findall(r'(?:src|href)="([^"#]*)', page))
    assert {link.partition(",")[0] for link in links} == {
        "",
        "data:",
        "data:text/csv;charset=utf-8",
    }
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
    lines = [
        found
        for line in compared.splitlines()
        if (found := re.match(r"([a-z]\w+) +(\d+/80) +([\d.]+) %", line))
    ]
    assert len(lines) > 5
    for found in lines:
        cells = f'<td>{found[1]}</td><td class="number">{found[2]}</td>'
        assert f'{cells}<td class="number">{found[3]}</td>' in page


def test_the_same_files_give_the_same_page(
    page: str, write_report: Callable[..., str], tmp_path: Path
) -> None:
    options = ("--groups", r"_(g\d+)_", "--title", "A <report>")
    again = write_report(tmp_path / "again.html", *options)
    day = r"<td>date</td><td class=.number.>[\d-]+"
    assert re.sub(day, "", again) == re.sub(day, "", page) != page


def test_without_groups_nothing_is_chosen(write_report: Callable[..., str], tmp_path: Path) -> None:
    page = write_report(tmp_path / "plain.html", "--strategy", "max", "--shown", "max")
    assert "No weight was chosen on other videos" in page
    assert "Not calibrated" in page


def test_the_verdict_comes_first_in_sentences(page: str) -> None:
    verdict = re.sub("<[^>]+>", " ", page[page.index("<header>") : page.index("</header>")])
    for fact in (
        r"gets [\d.]+ % of 80 videos right \(top-1; 95 % interval [\d.]+ to [\d.]+, (by|of|as) ",
        r"  Mean of the class accuracies: [\d.]+ % \([\d.]+ to [\d.]+\)",
        r"Against the best stream alone, motion \([\d.]+ %\): \+[\d.]+ points",
        "exact sign-flip test of 10 whole groups",
        "best of 10 fusions on these very videos",
        "What the epochs were selected on is not known",
    ):
        assert re.search(fact, verdict), fact
    assert "top-5" not in page.lower()  # among four classes


def test_every_table_can_be_saved(page: str) -> None:
    links = dict(re.findall(r'download="([^"]+)" href="data:text/csv;charset=utf-8,([^"]*)"', page))
    assert page.count("<table>") <= page.count('class="csv"')
    assert {"results.csv", "tests.csv", "classes.csv", "confusion.csv", "training.csv"} <= set(
        links
    )
    heading, *rows = csv.reader(io.StringIO(unquote(links["confusion.csv"])))
    assert heading == ["true class", "predicted", "videos"]
    assert sum(int(row[2]) for row in rows) == 80
    assert {row[0] for row in rows} <= {"<script>alert(1)</script>", "a & b", '"c"', "d"}


def test_figures_are_files_of_their_own(write_report: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    page = write_report(tmp_path / "page.html", "--groups", r"_(g\d+)_", "--figures", str(folder))
    names = {path.stem for path in folder.glob("*.svg")}
    assert {"results", "weights", "confusion", "classes", "training-motion-loss"} <= names
    assert len(names) == page.count("<svg ")
    for path in folder.glob("*.svg"):
        root = ElementTree.fromstring(path.read_text())
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert float(root.get("width", 0)) > 100


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_from_the_page(theme: int) -> None:
    """Contrast AA of WCAG: 4.5 for text, 3 for what is drawn."""
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", STYLE.split("@media")[theme]))

    def luminance(colour: str) -> float:
        shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for name, least in (("text", 4.5), ("soft", 4.5), ("blue", 4.5), ("orange", 4.5),
                        ("green", 3), ("purple", 3)):  # fmt: skip
        for ground in ("page", "sheet"):
            light, dark = sorted((luminance(colours[name]), luminance(colours[ground])))[::-1]
            enough = least if ground == "page" else 3
            assert (light + 0.05) / (dark + 0.05) >= enough, (name, ground)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--shown", "none"], "--shown 'none' is none of the results: spatial, motion, mean")],
)
def test_what_cannot_be_shown(runs: Path, tmp_path: Path, options: list[str], message: str) -> None:
    files = [str(runs / stream) for stream in ("spatial", "motion")]
    result = CliRunner().invoke(cli, ["report", *files, *options, "--out", str(tmp_path / "r")])
    assert result.exit_code == 2
    assert message in result.output
