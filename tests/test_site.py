"""The documentation site: built without a warning, with every document, command and public name."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import click
import pytest

from twostream.cli import COMMANDS, cli

ROOT = Path(__file__).parents[1]
FACES = ("flow_extract", "fusion", "twostream")


def test_every_document_has_its_place_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2].partition("\n\n")[0]
    listed = re.findall(r"[\w-]+\.md", navigation)
    documents = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    of_the_root = {"index.md", "architecture.md", "contributing.md", "changelog.md"}
    assert sorted(listed) == sorted(documents | of_the_root)


def test_the_readme_shows_small_pictures() -> None:
    readme = (ROOT / "README.md").read_text()
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    assert shown == ["docs/overview.svg", "docs/predict.webp", "docs/report.png"]
    assert [name for name in shown if (ROOT / name).stat().st_size > 200_000] == []
    assert len(readme.splitlines()) <= 120


def options(command: click.Command, name: str) -> set[str]:
    """The anchors of the options of a command and of those below it."""
    below = command.commands.items() if isinstance(command, click.Group) else ()
    named = [param for param in command.params if isinstance(param, click.Option)]
    return {f"{name}{param.opts[-1]}" for param in named if not param.hidden}.union(
        *(options(part, child) for child, part in below)
    )


def test_the_site_has_every_command_option_and_public_name(tmp_path: Path) -> None:
    """One test, since several would build the site in several processes."""
    for module in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install -e '.[docs]'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*build, "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    pages = {path.parent.relative_to(tmp_path).as_posix(): path.read_text("utf-8")
             for path in tmp_path.rglob("index.html")}  # fmt: skip

    missing = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        page = unescape(pages[f"reference/{name}"])
        assert f"<code>twostream {name} " in page
        anchors = re.findall(r'<dt id="([^"]+)">', page)
        missing += sorted(options(command, name).symmetric_difference(anchors))
        if f'href="../reference/{name}/"' not in pages["commands"]:
            missing.append(f"{name} in commands.md")
    for face in FACES:
        page = pages[f"reference/python/{face}"]
        names = importlib.import_module(face).__all__
        missing += [f"{face}.{name}" for name in names if f'id="{face}.{name}"' not in page]
    assert missing == []

    fetched = r'<(?:script|img|iframe)[^>]*src="(?:https?:)?//|<link[^>]*rel="stylesheet"[^>]*//'
    assert [name for name, page in pages.items() if re.search(fetched, page)] == []
