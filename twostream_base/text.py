"""Untrusted text, such as names, made safe for terminals, files of lines and spreadsheets."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from twostream_base.errors import InputError
from twostream_base.files import write_text

# What a spreadsheet takes for a formula, also in its full-width form, or drops before it looks.
# Inside a cell too: where a semicolon or tab parts cells, or a line break in quotes parts rows.
# An apostrophe in front makes it text; one more keeps apart what had such an apostrophe already.
_SIGN = "=+\\-@\uff0b\uff0d\uff1d\uff20"
_PLACE = f"(?:^(?='*[{_SIGN}\t\r\n])|(?<=[;\t\r\n])(?='*[{_SIGN}]))"
_FORMULA, _GUARDED = re.compile(_PLACE), re.compile(f"{_PLACE}'")


def guarded(cell: str) -> str:
    """A cell of a CSV file that no spreadsheet runs; `unguarded` gives the text back."""
    return _FORMULA.sub("'", cell)


def unguarded(cell: str) -> str:
    """The text that `guarded` was called with."""
    return _GUARDED.sub("", cell)


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows as CSV; texts are guarded, numbers stand as they are."""
    write_text(path, csv_text(rows))


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as the text of a CSV file; texts are guarded, numbers stand as they are."""

    def quoted(value: object) -> str:  # csv.writer leaves a lone carriage return as it is
        cell = guarded(value) if isinstance(value, str) else str(value)
        return '"{}"'.format(cell.replace('"', '""')) if set(cell) & set(',;"\t\r\n') else cell

    return "".join(",".join(map(quoted, row)) + "\n" for row in rows)


def read_csv(path: Path) -> list[list[str]]:
    """Read the rows of a CSV file of anyone; what `write_csv` has guarded becomes as it was.

    Blank lines are left out; line breaks inside quotes stay.

    Raises:
        InputError: no UTF-8 text, or quotes that do not fit.
    """
    return [row for _, row in read_numbered_csv(path)]


def read_numbered_csv(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that `read_csv` gives, and the line of each in the file, from 1."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file that can be read: {error}") from None
    return [(line, [unguarded(cell) for cell in row]) for line, row in rows]


def in_one_line(name: str, *, path: Path, without: str = "") -> str:
    """The name, if it can stand in a file of lines and is read again as it is.

    Args:
        without: characters that separate the columns of the file.

    Raises:
        InputError: a line break, a control character, a space at an end, or a separator.
    """
    breaks = any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in name)
    if breaks or name != name.strip() or set(name) & set(without):
        others = f", none of {without!r}" if without else ""
        raise InputError(
            f"{path}: {name!r} cannot be written in a line and read again; rename it: no line "
            f"break, no control character, no space at its ends{others}"
        )
    return name
