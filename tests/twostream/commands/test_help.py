"""Every `--help`: light, with an example, and common options first."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from twostream.cli import cli

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "torchvision", "cv2", "scipy.stats", "numba")
CODE = f"""
import io, json, sys
from contextlib import redirect_stdout
from twostream.cli import cli
helps = {{}}
for path in json.loads(sys.argv[1]):
    with redirect_stdout(io.StringIO()) as out:
        try: cli([*path.split(), "--help"], prog_name="twostream")
        except SystemExit: helps[path] = out.getvalue()
print(json.dumps([helps, [name for name in {HEAVY} if name in sys.modules]]))
"""


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands and groups, by the words that lead to them."""
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}".strip())
        else:
            yield f"{path} {name}".strip(), command


COMMANDS = dict(commands(cli))


@pytest.fixture(scope="module")
def helps_and_heavy() -> tuple[dict[str, str], list[str]]:
    """The help of every command, all from one process, and what heavy modules it loaded."""
    arguments = [sys.executable, "-c", CODE, json.dumps(list(COMMANDS))]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=True)
    helps, heavy = json.loads(done.stdout)
    return helps, heavy


@pytest.fixture(scope="module")
def helps(helps_and_heavy: tuple[dict[str, str], list[str]]) -> dict[str, str]:
    return helps_and_heavy[0]


def test_no_help_loads_what_is_heavy(helps_and_heavy: tuple[dict[str, str], list[str]]) -> None:
    assert helps_and_heavy[1] == []


def options_of(block: str) -> list[str]:
    return re.findall(r"^  (--?\w[\w-]*)", block, re.MULTILINE)


@pytest.mark.parametrize("path", COMMANDS)
def test_a_help_has_an_example_and_few_options_first(helps: dict[str, str], path: str) -> None:
    text = helps[path]
    assert text.startswith(f"Usage: twostream {path}".rstrip())
    example = text.partition("\nExample:\n")[2]
    words = ["twostream", *path.split()]
    assert example.split()[: len(words)] == words
    blocks = re.split(r"^(?=\S.*:$)", text, flags=re.MULTILINE)
    (first,) = [block for block in blocks if block.startswith(("Common options:", "Options:"))]
    assert 1 <= len(options_of(first)) <= 15
    assert not [line for line in text.splitlines() if len(line) > 100]
    listed = text.partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


def test_no_option_is_lost_between_the_sections(helps: dict[str, str]) -> None:
    for path, command in COMMANDS.items():
        options = [param.opts[0] for param in command.params if isinstance(param, click.Option)]
        shown = helps[path].partition("ptions:\n")[2]
        assert sorted(options_of(shown)) == sorted([*options, "-h"]), path


def test_the_options_of_the_examples_exist() -> None:
    for command in COMMANDS.values():
        if isinstance(command, click.Group):
            continue
        for line in command.example.replace("\\\n", " ").splitlines():
            words = shlex.split(line.partition(" -- ")[0])  # behind it: of another command
            used = {word for word in words if word.startswith("--")}
            assert used <= {option for param in command.params for option in param.opts}, line


def test_every_option_has_a_help_text() -> None:
    for path, command in COMMANDS.items():
        for param in command.params:
            assert not isinstance(param, click.Option) or param.help, (path, param.opts)


def test_the_first_options_of_train(helps: dict[str, str]) -> None:
    first, _, rest = helps["train"].partition("Common options:")[2].partition("\n\n")
    assert options_of(first) == [
        "--stream", "--model", "--weights", "--dataset", "--annotations", "--split", "--store",
        "--runs", "--name", "--epochs", "--batch-size", "--lr", "--recipe", "--device", "-h",
    ]  # fmt: skip
    assert re.findall(r"^(\S.*):$", rest, re.MULTILINE) == [
        "Recipe", "Data", "Network", "Both streams in one network", "Distillation",
        "Segments and snippets", "Run",
        "Schedule", "Augmentation", "Regularisation", "Validation", "Speed", "Output",
        "Plug-ins", "Example",
    ]  # fmt: skip
