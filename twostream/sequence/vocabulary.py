"""Vocabulary: glosses as class numbers. Class 0 is the CTC blank, the glosses follow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twostream.sequence.records import SequenceRecord
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text

HEADING = "signstate classlabel"


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Read PHOENIX's vocabulary (`signstate classlabel`, then `GLOSS 17`), or a gloss a line.

    Raises:
        InputError: empty, or a gloss twice.
    """
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    glosses = [line[0] for line in lines if " ".join(line) != HEADING]
    duplicates = sorted({gloss for gloss in glosses if glosses.count(gloss) > 1})
    if not glosses or duplicates:
        raise InputError(f"{path}: not a vocabulary, a gloss a line; twice: {some_of(duplicates)}")
    return tuple(glosses)


def build_vocabulary(train: Sequence[SequenceRecord], path: Path | None) -> tuple[str, ...]:
    """The glosses of the training list, sorted, or those of a file.

    Raises:
        InputError: the training list has a gloss that the file lacks.
    """
    glosses = sorted({gloss for record in train for gloss in record.glosses})
    if path is None:
        return tuple(glosses)
    vocabulary = read_vocabulary(path)
    if missing := sorted(set(glosses) - set(vocabulary)):
        raise InputError(f"{path} lacks glosses of the training list: {some_of(missing)}")
    return vocabulary


def glosses_to_labels(glosses: Sequence[str], vocabulary: Sequence[str]) -> list[int]:
    """The labels, from 1, of those glosses that are in the vocabulary."""
    numbers = {gloss: number for number, gloss in enumerate(vocabulary, start=1)}
    return [numbers[gloss] for gloss in glosses if gloss in numbers]


def labels_to_glosses(labels: Sequence[int], vocabulary: Sequence[str]) -> list[str]:
    """Labels from 1 to glosses."""
    return [vocabulary[label - 1] for label in labels]


def unknown_glosses(records: Sequence[SequenceRecord], vocabulary: Sequence[str]) -> list[str]:
    """Glosses outside the vocabulary, sorted; each counts as an error in the rate."""
    known = set(vocabulary)
    return sorted({g for record in records for g in record.glosses if g not in known})
