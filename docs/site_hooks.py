"""Hooks of mkdocs: documents from the root of the clone, and reference pages made from the code."""

from __future__ import annotations

import html
import importlib
import logging
import posixpath
import re
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from twostream.cli import COMMANDS, cli

log = logging.getLogger("mkdocs.hooks.site")
ROOT = Path(__file__).parents[1]
FACES = ("twostream", "fusion", "flow_extract")
MEASUREMENTS = sorted(path.stem for path in (ROOT / "benchmarks" / "results").glob("*.md"))
SCRIPTS = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))

# Page of the site -> file of the clone, for what lies outside docs/.
OUTSIDE = {
    "index.md": "README.md",
    "architecture.md": "ARCHITECTURE.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "examples/index.md": "examples/README.md",
    **{f"examples/{name}.md": f"examples/{name}.py" for name in SCRIPTS},
    **{f"measurements/{name}.md": f"benchmarks/results/{name}.md" for name in MEASUREMENTS},
}


def on_config(config: MkDocsConfig) -> None:
    """Fill in the parts of the navigation that follow from the code."""
    parts: dict[str, list[Any]] = {
        "Commands": [{name: f"reference/{name}.md"} for name in COMMANDS],
        "Python": [{face: f"reference/python/{face}.md"} for face in FACES],
        "Examples": ["examples/index.md", *(f"examples/{name}.md" for name in SCRIPTS)],
        "Measurements": [f"measurements/{name}.md" for name in MEASUREMENTS],
    }
    assert config.nav is not None
    config.nav = fill(config.nav, parts)


def fill(entries: list[Any], parts: dict[str, list[Any]]) -> list[Any]:
    """A navigation whose sections of the names in `parts` go on with these."""
    filled = []
    for entry in entries:
        ((title, pages),) = entry.items() if isinstance(entry, dict) else ((None, None),)
        is_section = isinstance(pages, list)
        filled.append({title: fill(pages, parts) + parts.get(title, [])} if is_section else entry)
    return filled


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents outside docs/, a page for each command, and one for each package."""
    pages = {page: (ROOT / path).read_text("utf-8") for page, path in OUTSIDE.items()}
    for name in SCRIPTS:
        code = pages[f"examples/{name}.md"]
        pages[f"examples/{name}.md"] = f"# {name}.py\n\n```python\n{code}```\n"
    context = click.Context(cli, info_name="twostream")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        pages[f"reference/{name}.md"] = "\n".join(command_page(command, name, context, level=1))
    for face in FACES:
        pages[f"reference/python/{face}.md"] = python_page(face)
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between files of the clone become links between pages; commands.md links its table."""
    here = page.file.src_uri
    if here == "commands.md":
        first_column = re.compile(r"^\|[^|]+\|", re.MULTILINE)
        text = first_column.sub(
            lambda cell: re.sub(r"`([a-z-]+)`", r"[`\1`](reference/\1.md)", cell[0]), text
        )
    page_of = {path: name for name, path in OUTSIDE.items()}
    folder = posixpath.dirname(OUTSIDE.get(here, f"docs/{here}"))

    def link(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        path = posixpath.normpath(posixpath.join(folder, target))
        to = page_of.get(path, path.removeprefix("docs/"))
        if path.startswith("docs/") or path in page_of:
            return f"]({posixpath.relpath(to, posixpath.dirname(here))}{anchor})"
        log.warning("%s: %s is not a page of the site", here, path)
        return found[0]

    links = re.compile(r"\]\((?!https?:|#|reference/)([^)#\s]+)(#[^)\s]*)?\)")
    parts = re.split(r"^(```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)  # odd ones are code
    return "".join(part if i % 2 else links.sub(link, part) for i, part in enumerate(parts))


def command_page(
    command: click.Command, name: str, parent: click.Context, *, level: int
) -> list[str]:
    """What `--help` says, as Markdown: usage, text, example, options by their sections."""
    context = click.Context(command, info_name=name, parent=parent)
    context.default_map = {}
    usage = " ".join(command.collect_usage_pieces(context))
    heading = "#" * level
    lines = [f"{heading} {context.command_path}", "", f"    {context.command_path} {usage}", ""]
    for paragraph in (command.help or "").split("\n\n"):
        lines += [as_html(" ".join(paragraph.split())), ""]
    example = "".join(f"    {line}\n" for line in vars(command)["example"].splitlines())
    lines += ["Example:", "", example]
    for title, options in sections(command, context).items():
        lines += [f"{heading}# {title}", "", '<dl class="options">']
        for option, (form, text) in options:
            anchor = html.escape(f"{name}{option.opts[-1]}")
            lines.append(f'<dt id="{anchor}"><code>{html.escape(form)}</code></dt>')
            lines.append(f"<dd>{as_html(text)}</dd>")
        lines += ["</dl>", ""]
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            part = command.get_command(context, child)
            assert part is not None
            lines += command_page(part, child, context, level=level + 1)
    return lines


def as_html(text: str) -> str:
    """Plain text of a help as HTML, its options and what it quotes as code."""
    escaped = html.escape(text, quote=False)
    return re.sub(r"`([^`]+)`|(?<!\S)(--[a-z][a-z-]*[a-z])", r"<code>\1\2</code>", escaped)


def sections(
    command: click.Command, context: click.Context
) -> dict[str, list[tuple[click.Option, tuple[str, str]]]]:
    """Title -> options, in the order and under the titles of `--help`."""
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    common = list(getattr(command, "common", ()))
    first = "Common options" if common else "Options"
    by_name = {name: option for option in options for name in option.opts}
    listed_first = [by_name[name] for name in common]
    table: dict[str, list[tuple[click.Option, tuple[str, str]]]] = {first: []}
    for option in [*listed_first, *(option for option in options if option not in listed_first)]:
        is_first = not common or option in listed_first
        title = first if is_first else vars(option).get("section", first)
        record = option.get_help_record(context)
        if record and "--help" not in option.opts:
            table.setdefault(title, []).append((option, record))
    return table


def python_page(face: str) -> str:
    """All public names of a package, their docstrings shown by mkdocstrings."""
    package = importlib.import_module(face)
    summary = (package.__doc__ or "").partition("\n")[0]
    lines = [f"# {face}", "", summary, "", "With examples: [from Python](../../python.md).", ""]
    lines += [f"::: {face}.{name}\n" for name in package.__all__]
    return "\n".join(lines)
