"""Transcripts, sentences of glosses, in the field's file formats: text lines, csv, stm, ctm."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from twostream.errors import InputError, some_of
from twostream.files import read_text

Transcripts = dict[str, list[str]]
NAME_COLUMNS = ("id", "name")
GLOSS_COLUMNS = ("annotation", "orth", "glosses")


def read_transcripts(path: Path) -> Transcripts:
    """Read sentences by the file's suffix: name -> glosses, in the file's order.

    `.txt` has a sentence a line, named by its number; `.csv` has a heading and `|` or `,` between
    columns (PHOENIX-2014, PHOENIX-2014T, or `name,glosses`); `.stm` and `.ctm` are NIST's.

    Raises:
        InputError: another suffix, a line that does not fit the format, or a name twice.
    """
    if path.suffix not in READERS:
        raise InputError(
            f"{path}: sentences are read from {', '.join(READERS)} files; rename or convert it"
        )
    transcripts = READERS[path.suffix](path)
    if not transcripts:
        raise InputError(f"{path}: holds no sentence")
    return transcripts


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a csv with a heading, separated by `|` if the heading has one, else by commas.

    Raises:
        InputError: no heading, or a row with another number of columns; the line is named.
    """
    lines = read_text(path).splitlines()
    if not lines:
        raise InputError(f"{path}: is empty; expected a heading and a row for each sentence")
    bar = "|" in lines[0]
    reader = csv.DictReader(
        lines, delimiter="|" if bar else ",", quoting=csv.QUOTE_NONE if bar else csv.QUOTE_MINIMAL
    )
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise InputError(
                f"{path}, line {reader.line_num}: more or fewer columns than in the heading; it "
                f"has {', '.join(reader.fieldnames or [])}"
            )
        rows.append(row)
    return rows


def column(row: dict[str, str], names: Sequence[str], *, path: Path) -> str:
    """The value of the first of `names` that the heading has.

    Raises:
        InputError: it has none of them.
    """
    for name in names:
        if name in row:
            return row[name]
    raise InputError(f"{path}: the heading has none of {', '.join(names)}; it has {', '.join(row)}")


def _read_text(path: Path) -> Transcripts:
    lines = read_text(path).splitlines()
    return {f"line {number}": line.split() for number, line in enumerate(lines, start=1)}


def _read_csv(path: Path) -> Transcripts:
    sentences = [
        (column(row, NAME_COLUMNS, path=path), column(row, GLOSS_COLUMNS, path=path).split())
        for row in read_rows(path)
    ]
    return _unique(sentences, path=path)


def _read_stm(path: Path) -> Transcripts:
    """`name channel speaker start end [<labels>] gloss gloss ...`."""
    sentences = []
    for words in _read_fields(path, at_least=5):
        glosses = words[6:] if len(words) > 5 and words[5].startswith("<") else words[5:]
        sentences.append((words[0], glosses))
    return _unique(sentences, path=path)


def _read_ctm(path: Path) -> Transcripts:
    """`name channel start duration gloss [confidence]`; `[EMPTY]` stands for no gloss."""
    timed: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for words in _read_fields(path, at_least=5):
        try:
            timed[words[0]].append((float(words[2]), words[4]))
        except ValueError:
            raise InputError(f"{path}: {' '.join(words)!r}: the third column is a time") from None
    return {
        name: [gloss for _, gloss in sorted(glosses, key=lambda g: g[0]) if gloss != "[EMPTY]"]
        for name, glosses in timed.items()
    }


def _read_fields(path: Path, *, at_least: int) -> list[list[str]]:
    rows = [line.split() for line in read_text(path).splitlines() if not line.startswith(";;")]
    rows = [row for row in rows if row]
    if short := [" ".join(row) for row in rows if len(row) < at_least]:
        raise InputError(f"{path}: fewer than {at_least} columns in {some_of(short, limit=2)!r}")
    return rows


def _unique(sentences: Sequence[tuple[str, list[str]]], *, path: Path) -> Transcripts:
    transcripts = dict(sentences)
    if len(transcripts) < len(sentences):
        names = [name for name, _ in sentences]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"{path}: more than once: {some_of(duplicates)}")
    return transcripts


READERS: dict[str, Callable[[Path], Transcripts]] = {
    ".txt": _read_text,
    ".csv": _read_csv,
    ".stm": _read_stm,
    ".ctm": _read_ctm,
}
