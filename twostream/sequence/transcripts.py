"""Transcripts: sentences of glosses in text, csv, stm and ctm files, and their normalisation."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, product
from pathlib import Path

from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text, write_text
from twostream_base.text import guarded, in_one_line, read_numbered_csv, unguarded

Transcripts = dict[str, list[str]]
References = dict[str, list[list[str]]]  # all that is right for a sentence
MOST_ALTERNATIVES = 1_000  # sentences that the alternatives of one stm line may stand for
IGNORED = "IGNORE_TIME_SEGMENT_IN_SCORING"
NAME_COLUMNS = ("id", "name")
SIGNER_COLUMNS = ("signer", "speaker")
GLOSS_COLUMNS = ("annotation", "orth", "glosses")


def read_transcripts(path: Path) -> Transcripts:
    """Read sentences by the file's suffix: name -> glosses, in the file's order.

    `.txt` has a sentence a line, named by its number; `.csv` has a heading and `|` or `,` between
    columns (PHOENIX-2014, PHOENIX-2014T, or `name,glosses`); `.stm` and `.ctm` are NIST's.

    Raises:
        InputError: another suffix, a line that does not fit the format, a name twice, or a sentence
            of an stm file with alternatives or not to be counted (`read_references`).
    """
    sentences = read_references(path)
    if unclear := [name for name, alternatives in sentences.items() if len(alternatives) != 1]:
        raise InputError(
            f"{path}: {{ a / b }} or {IGNORED} in {some_of(unclear)}; only the reference of "
            "`twostream wer` may have alternatives, and sentences that are not counted"
        )
    return {name: glosses for name, (glosses,) in sentences.items()}


def read_references(path: Path) -> References:
    """Read sentences as `read_transcripts` does; those of an stm file may have alternatives.

    Returns:
        The sentences that are right, by name: one, or several where an stm line has alternatives
        `{ a / b c / @ }` (`@` is no gloss), or none where it says IGNORE_TIME_SEGMENT_IN_SCORING.
    """
    if path.suffix not in READERS:
        raise InputError(
            f"{path}: sentences are read from {', '.join(READERS)} files; rename or convert it"
        )
    transcripts = READERS[path.suffix](path)
    if not transcripts:
        raise InputError(f"{path}: holds no sentence")
    if path.suffix != ".stm":
        return {name: [glosses] for name, glosses in transcripts.items()}
    return {
        name: _alternatives(glosses, where=f"{path}: {name}")
        for name, glosses in transcripts.items()
    }


def read_signers(path: Path) -> dict[str, str]:
    """Who signs each sentence, by name; empty where a file does not say it.

    A csv has a column `signer` or `speaker`; the third column of an stm is the speaker.
    """
    if path.suffix == ".stm":
        return {words[0]: words[2] for words in _read_fields(path)}
    rows = read_rows(path) if path.suffix == ".csv" else []
    return {
        column(row, NAME_COLUMNS, path=path): column(row, SIGNER_COLUMNS, path=path)
        for row in rows
        if any(key in row for key in SIGNER_COLUMNS)
    }


def _alternatives(glosses: Sequence[str], *, where: str) -> list[list[str]]:
    if [gloss.upper() for gloss in glosses] == [IGNORED]:
        return []
    parts: list[list[list[str]]] = []  # of the sentence: what may stand in each place
    inside = False
    for gloss in glosses:
        if gloss == "{" and not inside:
            inside = True
            parts.append([[]])
        elif gloss == "}" and inside:
            inside = False
        elif gloss == "/" and inside:
            parts[-1].append([])
        elif gloss in ("{", "}"):
            raise InputError(f"{where}: {gloss!r} where none can be; alternatives are {{ a / b }}")
        elif not inside:
            parts.append([[gloss]])
        elif gloss != "@":
            parts[-1][-1].append(gloss)
    if inside:
        raise InputError(f"{where}: '{{' is not closed; alternatives are {{ a / b }}")
    if (count := math.prod(map(len, parts))) > MOST_ALTERNATIVES:
        raise InputError(
            f"{where}: its alternatives make {count:,} sentences; at most {MOST_ALTERNATIVES:,} "
            "are compared: leave some out"
        )
    return [[gloss for part in choice for gloss in part] for choice in product(*parts)]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a csv with a heading, separated by `|` if the heading has one, else by commas.

    Raises:
        InputError: no heading, or a row with another number of columns; the line is named.
    """
    lines = read_text(path).split("\n")
    if not any(lines):
        raise InputError(f"{path}: is empty; expected a heading and a row for each sentence")
    if "|" in lines[0]:
        split = [(number, line.split("|")) for number, line in enumerate(lines, start=1) if line]
        (_, heading), *rows = [(number, list(map(unguarded, row))) for number, row in split]
    else:
        (_, heading), *rows = read_numbered_csv(path)
    for number, row in rows:
        if len(row) != len(heading):
            raise InputError(
                f"{path}, line {number}: more or fewer columns than in the heading; it "
                f"has {', '.join(heading)}"
            )
    return [dict(zip(heading, row, strict=True)) for _, row in rows]


def column(row: dict[str, str], names: Sequence[str], *, path: Path) -> str:
    """The value of the first of `names` that the heading has; it must have one."""
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
    for words in _read_fields(path):
        glosses = words[6:] if len(words) > 5 and words[5].startswith("<") else words[5:]
        sentences.append((words[0], glosses))
    return _unique(sentences, path=path)


def _read_ctm(path: Path) -> Transcripts:
    """`name channel start duration gloss [confidence]`; `[EMPTY]` stands for no gloss."""
    timed: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for words in _read_fields(path):
        try:
            timed[words[0]].append((float(words[2]), words[4]))
        except ValueError:
            raise InputError(f"{path}: {' '.join(words)!r}: the third column is a time") from None
    return {
        name: [gloss for _, gloss in sorted(glosses, key=lambda g: g[0]) if gloss != "[EMPTY]"]
        for name, glosses in timed.items()
    }


def _read_fields(path: Path) -> list[list[str]]:
    rows = [line.split() for line in read_text(path).splitlines() if not line.startswith(";;")]
    rows = [row for row in rows if row]
    if short := [" ".join(row) for row in rows if len(row) < 5]:
        raise InputError(f"{path}: fewer than 5 columns in {some_of(short, limit=2)!r}")
    return rows


def repeated(names: Iterable[str]) -> list[str]:
    """Those that are there more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _unique(sentences: Sequence[tuple[str, list[str]]], *, path: Path) -> Transcripts:
    transcripts = dict(sentences)
    if len(transcripts) < len(sentences):
        duplicates = repeated(name for name, _ in sentences)
        raise InputError(f"{path}: more than once: {some_of(duplicates)}")
    return transcripts


READERS: dict[str, Callable[[Path], Transcripts]] = {
    ".txt": _read_text,
    ".csv": _read_csv,
    ".stm": _read_stm,
    ".ctm": _read_ctm,
}


def write_transcripts(path: Path, transcripts: Transcripts) -> None:
    """Write `name|glosses` to a .csv, or NIST's .ctm, as `read_transcripts` reads them.

    The times of a ctm are positions in the sentence: CTC gives no times.

    Raises:
        InputError: another suffix, or a name or gloss that could not be read again.
    """
    for name, glosses in transcripts.items():
        comment = ";" if name.startswith(";;") else ""
        in_one_line(name, path=path, without="|" if path.suffix == ".csv" else f" {comment}")
        for gloss in glosses:
            in_one_line(gloss, path=path, without=" |")
    if path.suffix == ".csv":
        lines = ["name|glosses"]
        lines += [
            f"{guarded(name)}|{guarded(' '.join(glosses))}" for name, glosses in transcripts.items()
        ]
    elif path.suffix == ".ctm":
        lines = [
            f"{name} 1 {position:.2f} 1.00 {gloss}"
            for name, glosses in transcripts.items()
            for position, gloss in enumerate(glosses or ["[EMPTY]"])
        ]
    else:
        raise InputError(f"{path}: recognised glosses are written to .csv or .ctm files")
    write_text(path, "\n".join([*lines, ""]))


# `(glosses) -> glosses`. The data sets' official scripts work on lines of text with sed, awk and
# perl; these are the same rules on a list of glosses.
Normaliser = Callable[[Sequence[str]], list[str]]

MARKS = ("loc-", "cl-", "qu-", "poss-", "lh-")
SPELLINGS = {"S0NNE": "SONNE", "HABEN2": "HABEN"}
NOT_SIGNS = ("__EMOTION__", "__PU__", "__LEFTHAND__")
ROOM = re.compile("(?<=[A-Z][A-Z])RAUM")
PLAIN_WORD = re.compile("[A-Z]+")
LETTER = re.compile("[A-Z]")
ANY_GLOSS = re.compile(".*")


def unchanged(glosses: Sequence[str]) -> list[str]:
    """Compare the glosses as they are."""
    return list(glosses)


def normalise_phoenix2014(glosses: Sequence[str]) -> list[str]:
    """The clean-up of RWTH-PHOENIX-Weather 2014's own evaluation (Koller et al., CVIU 2015).

    `evaluatePhoenix2014.sh` sees the hypothesis as ctm, a gloss in each row, so only its rules for
    one gloss ever act: marks of place, classifier, question, possession, left hand and plural are
    removed (`loc-NORD` is `NORD`), annotations that are no sign are dropped, and variants are
    unified (`HABEN2`, `...RAUM`, `ZEIGEN`). Its rules for neighbours (spelled letters, repeated
    words) act on nothing; `normalise_phoenix2014_sentence` has them.
    """
    signs = []
    for gloss in glosses:
        sign = gloss
        for mark in MARKS:
            sign = sign.replace(mark, "")
        for variant, spelling in SPELLINGS.items():
            sign = sign.replace(variant, spelling)
        for marker in NOT_SIGNS:
            sign = sign.replace(marker, "")
        if sign.endswith("ZEIGEN"):
            sign += "-BILDSCHIRM"
        sign = ROOM.sub("", sign).replace("-PLUSPLUS", "")
        if sign and "__EPENTHESIS__" not in sign:
            signs.append(sign)
    return signs


def normalise_phoenix2014_sentence(glosses: Sequence[str]) -> list[str]:
    """The rules of PHOENIX-2014's evaluation applied to whole sentences, as written.

    In addition to `normalise_phoenix2014`, spelled letters become one gloss (`K+R+E+I`), `WIE
    AUSSEHEN` becomes one, and a plain word that is repeated at once counts once. The official
    evaluation never does this, so rates with it are not those of papers.
    """
    joined: list[str] = []
    for gloss in normalise_phoenix2014(glosses):
        before = joined[-1] if joined else ""
        if (before, gloss) == ("WIE", "AUSSEHEN"):
            joined[-1] = "WIE-AUSSEHEN"
        elif _is_spelled(before.rpartition("+")[2], gloss.partition("+")[0]):
            joined[-1] = f"{before}+{gloss}"
        else:
            joined.append(gloss)
    return _collapse_repeats(joined, pattern=PLAIN_WORD)


def normalise_phoenix2014t(glosses: Sequence[str]) -> list[str]:
    """The rules of RWTH-PHOENIX-Weather 2014T (Camgoz et al., CVPR 2018).

    Marks of place, classifier and plural are removed, every `__MARKER__` is dropped, `...RAUM`
    loses its ending, and any gloss that is repeated at once counts once.
    """
    signs = [gloss for gloss in glosses if not re.fullmatch("__.*__", gloss)]
    bare = [re.sub("^loc-|^cl-|-PLUSPLUS$|(?<=[A-Z])RAUM$", "", sign) for sign in signs]
    return _collapse_repeats([sign for sign in bare if sign], pattern=ANY_GLOSS)


def _is_spelled(before: str, after: str) -> bool:
    """Whether two glosses are letters of one spelled word; SCH and NN are spelled in one sign."""
    letter_before, letter_after = (LETTER.fullmatch(part) is not None for part in (before, after))
    return (letter_before and (letter_after or after == "NN")) or (
        before in ("SCH", "NN") and letter_after
    )


def _collapse_repeats(glosses: Sequence[str], *, pattern: re.Pattern[str]) -> list[str]:
    collapsed: list[str] = []
    for gloss, repeats in groupby(glosses):
        collapsed += [gloss] if pattern.fullmatch(gloss) else list(repeats)
    return collapsed


NORMALISERS: dict[str, Normaliser] = {
    "none": unchanged,
    "phoenix2014": normalise_phoenix2014,
    "phoenix2014-sentence": normalise_phoenix2014_sentence,
    "phoenix2014t": normalise_phoenix2014t,
}


def usual_normaliser(dataset: str) -> str:
    """The clean-up of a data set's own evaluation, by name; `none` where it has none."""
    dataset = dataset.removesuffix("-si5")
    return dataset if dataset in NORMALISERS else "none"
