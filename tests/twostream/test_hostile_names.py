"""Names from files act neither in a spreadsheet, nor in a file of lines, nor on the terminal."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from fusion.combining.step import read_class_weights
from fusion.exchange.exporting import EXPORTS
from fusion.exchange.formats import SCORE_FORMATS
from fusion.exchange.importing import import_scores
from fusion.tables.groups import video_groups
from fusion.tables.score_file import ScoreTable, write_scores
from twostream.commands import console
from twostream.data.make_lists import groups_from_csv, write_groups, write_lists
from twostream.data.splits import read_split
from twostream.sequence.transcripts import read_transcripts, write_transcripts
from twostream_base.errors import InputError
from twostream_base.text import write_csv

FORMULAS = ("=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "'=1", "\uff1d1")
ESCAPES = ("\x1b[31mred", "line\nbreak", "\x9b2J", "bell\x07", "right\u202eleft", "half\ud800")
SPREADSHEETS_RUN = ("=", "+", "-", "@", "\t", "\r", "\uff1d")

Make = Callable[..., ScoreTable]


@pytest.fixture
def table(make_table: Make) -> ScoreTable:
    """Six videos of three classes with names that a spreadsheet would run."""
    scores = np.random.default_rng(0).normal(size=(6, 3))
    return make_table(
        scores, names=FORMULAS, class_names=FORMULAS[:3], labels=[0, 1, 2, 0, 1, 2], stream="=a"
    )


@pytest.mark.parametrize("format", ["csv", "top"])
def test_exported_scores(tmp_path: Path, table: ScoreTable, format: str) -> None:
    path = tmp_path / "out.csv"
    EXPORTS[format](path, table)
    for row in csv.reader(path.read_text().split("\n")):
        texts = [cell for cell in row if not cell.lstrip("-").replace(".", "").isdecimal()]
        assert not [text for text in texts if text.startswith(SPREADSHEETS_RUN)]
    if format == "csv":
        back = import_scores(SCORE_FORMATS["csv"](path), metadata={})
        assert (back.names, back.class_names) == (table.names, table.class_names)
        np.testing.assert_array_equal(back.labels, table.labels)


def test_groups(tmp_path: Path) -> None:
    groups = {name: f"={name}" for name in FORMULAS}
    write_groups(tmp_path, groups)
    assert "\n=" not in "\n" + (tmp_path / "groups.csv").read_text()
    assert video_groups(FORMULAS, str(tmp_path / "groups.csv")) == list(groups.values())
    write_csv(tmp_path / "table.csv", [("video", "source"), *groups.items()])
    group_of = groups_from_csv(tmp_path / "table.csv", column="source")
    assert [group_of(name) for name in FORMULAS] == list(groups.values())


def test_lists_of_a_folder(tmp_path: Path) -> None:
    names = [f"{folder}/{name}" for folder in FORMULAS[1:4] for name in ("-1", "=2", "@3")]
    write_lists(tmp_path, names, group_of=lambda name: name, test_fraction=0.3)
    split = read_split("folder", tmp_path)
    assert sorted(record.name for record in (*split.train, *split.test)) == sorted(names)
    assert split.class_names == tuple(sorted(FORMULAS[1:4]))


def test_class_weights(tmp_path: Path) -> None:
    rows = [("class", "=a", "b"), *((name, 1.0, -0.5) for name in FORMULAS[:3])]
    write_csv(tmp_path / "weights.csv", rows)
    weights = read_class_weights(tmp_path / "weights.csv", ["b", "=a"], FORMULAS[:3])
    np.testing.assert_array_equal(weights, [[-0.5] * 3, [1.0] * 3])


def test_recognised_glosses(tmp_path: Path) -> None:
    sentences = {name: ["=A", "-PLUSPLUS"] for name in FORMULAS if "|" not in name}
    write_transcripts(tmp_path / "a.csv", sentences)
    assert read_transcripts(tmp_path / "a.csv") == sentences
    cells = [
        cell for line in (tmp_path / "a.csv").read_text().split("\n") for cell in line.split("|")
    ]
    assert not [cell for cell in cells if cell.startswith(SPREADSHEETS_RUN)]


@pytest.mark.parametrize("name", ["a\nb 0 0", "a\u2028b", "a\x1b"])
@pytest.mark.parametrize("writer", ["npy", "gluoncv", "txt", "csv", "ctm"])
def test_lines_cannot_be_forged(tmp_path: Path, make_table: Make, writer: str, name: str) -> None:
    path = tmp_path / f"out.{writer}"

    def write() -> None:
        if writer in ("npy", "gluoncv"):
            EXPORTS[writer](path, make_table(np.ones((2, 2)), names=["a", name.replace(" ", "")]))
        elif writer == "txt":
            names = [f"{folder}/{name}{k}" for folder in "ab" for k in range(3)]
            write_lists(tmp_path, names, group_of=lambda n: n, test_fraction=0.3)
        else:
            write_transcripts(path, {name: ["A"]})

    with pytest.raises(InputError, match=r"out\.|list0[123]\.txt") as caught:
        write()
    assert name not in str(caught.value)


@pytest.mark.parametrize("name", ["a|b", ";;a", "a b"])
def test_separators_of_transcripts(tmp_path: Path, name: str) -> None:
    """A name either comes back or is refused."""
    for suffix in (".csv", ".ctm"):
        refused = (suffix == ".csv") == ("|" in name)
        if refused:
            with pytest.raises(InputError, match=re.escape(repr(name))):
                write_transcripts(tmp_path / f"a{suffix}", {name: ["A"]})
        else:
            write_transcripts(tmp_path / f"a{suffix}", {name: ["A"]})
            assert read_transcripts(tmp_path / f"a{suffix}") == {name: ["A"]}


@pytest.fixture
def hostile(tmp_path: Path, make_table: Make) -> tuple[Path, Path]:
    """Two score files full of escape codes."""
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for seed, path in enumerate(paths):
        scores = np.random.default_rng(seed).normal(size=(60, 3)).astype(np.float32)
        names = [f"{number}{ESCAPES[number % 5]}" for number in range(60)]
        about: dict[str, Any] = {
            "stream": f"{seed}\x1b[1m\n",
            "note": "\x1b]0;title\x07",
            "dataset": "\x1b[2J",
        }
        scores[1], scores[2] = scores[0], scores[0]
        write_scores(
            path,
            make_table(
                scores, names=names, class_names=ESCAPES[:3], labels=[0, 1, 2] * 20, **about
            ),
        )
    return paths


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("scores show FILE --first 5", 0),
        ("scores show FILE --json", 0),
        ("scores check FILES", 0),
        ("fuse FILES --json", 0),
        ("fuse FILES", 0),
        ("fuse FILES --strategy max", 0),
        ("compare FILES --classes", 0),
        ("compare FILES --json", 0),
        ("tune FILES --choose test", 0),
        ("tune FILES --choose crossfit --groups ucf101", 2),
        ("fuse FILES --class-weights weights.csv --strategy weighted", 2),
        ("wer --reference ref.csv --hypothesis hyp.csv --alignments", 0),
        ("wer --reference ref.csv --hypothesis other.csv", 2),
        ("wer --reference ref.csv --hypothesis hyp.csv --json", 0),
    ],
)
def test_no_escape_code_reaches_the_terminal(
    twostream: Callable[..., Result], hostile: tuple[Path, Path], command: str, exit_code: int
) -> None:
    Path("weights.csv").write_text("class,\x1b[31m\n")
    Path("ref.csv").write_text("name,glosses\na\x1b[2J,A \x1b[31mB\n")
    Path("hyp.csv").write_text("name,glosses\na\x1b[2J,A \x9bC\n")
    Path("other.csv").write_text("name,glosses\nb\x1b[2J,A\n")
    words = [str(hostile[0]) if word == "FILE" else word for word in command.split()]
    at = words.index("FILES") if "FILES" in words else None
    if at is not None:
        words[at : at + 1] = map(str, hostile)
    output = twostream(*words, exit_code=exit_code).output
    assert [char for char in output if not char.isprintable() and char != "\n"] == []
    assert "x1b" in output or "u001b" in output
    if "--json" in words:
        json.loads(output[output.index("{") : output.rindex("}") + 1])


def test_commands_print_through_the_console() -> None:
    """`console.show`, `tell` and `print_json` escape; a plain `click.echo` would not."""
    commands = Path(console.__file__).parent
    plain = [
        path.name
        for path in sorted(commands.glob("*.py"))
        if re.search(r"click\.echo\(|(?<![\w.])print\(", path.read_text())
    ]
    assert plain == ["console.py"]
