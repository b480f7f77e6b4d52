"""Score files of text: CSV, and a line a view as GluonCV, VideoMAE and UniFormer write it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fusion.exchange.formats.external_scores import ExternalScores, stack_videos
from fusion.tables.score_file import UNKNOWN
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text
from twostream_base.text import read_numbered_csv

_LINE = re.compile(
    r"(?P<name>.+?) +\[(?P<scores>[^\]]*)\] +(?P<label>\d+) +(?P<chunk>\d+) +(?P<crop>\d+)"
)
# Each process heads its file with the accuracies of its last batch; joined files have several.
_HEADING = re.compile(r"[\d.]+, *[\d.]+")

Views = dict[tuple[int, int], np.ndarray]


def read_gluoncv_text(path: Path) -> ExternalScores:
    """Read lines `name [scores] label chunk crop`; chunks become segments.

    The files of several processes may be joined into one, in any order. A view that stands there
    twice, as processes pad their share, counts once.
    """
    views: dict[str, Views] = {}
    labels: dict[str, int] = {}
    text = read_text(path)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or _HEADING.fullmatch(line.strip()):
            continue
        try:
            if (match := _LINE.fullmatch(line.strip())) is None:
                raise ValueError
            scores = np.array([float(part) for part in match["scores"].split(",")])
            label, place = int(match["label"]), (int(match["chunk"]), int(match["crop"]))
        except ValueError:
            raise InputError(
                f"{path}: line {number}: expected `name [scores] label chunk crop`"
            ) from None
        name = match["name"]
        if labels.setdefault(name, label) != label:
            raise InputError(f"{path}: line {number}: {name} has labels {labels[name]} and {label}")
        views.setdefault(name, {}).setdefault(place, scores)
    places = sorted({place for of_video in views.values() for place in of_video})
    incomplete = [name for name, of_video in views.items() if len(of_video) < len(places)]
    chunks, crops = ({place[axis] for place in places} for axis in (0, 1))
    if incomplete or len(places) != len(chunks) * len(crops):
        raise InputError(
            f"{path}: {len(chunks)} chunks and {len(crops)} crops, but not all of them for "
            f"{some_of(incomplete) or 'any video'}; are the files of all processes joined?"
        )
    grids = []
    for name, of_video in views.items():
        rows = [of_video[place] for place in places]
        if len({row.size for row in rows}) > 1:
            raise InputError(f"{path}: {name}: its views have different numbers of classes")
        grids.append((name, np.stack(rows).reshape(len(chunks), len(crops), rows[0].size)))
    stacked = stack_videos(grids, path=path, most=len(text))
    return ExternalScores(path, tuple(views), stacked, np.array(list(labels.values()), np.int64))


def read_score_csv(path: Path) -> ExternalScores:
    """Read a CSV whose first line is `name,label,` and the class names; `label` may be left out.

    A label is a class name, a number from 0, or empty where it is not known.
    """
    (_, heading), *rows = read_numbered_csv(path) or [(1, [""])]
    labelled = heading[1:2] == ["label"]
    class_names = tuple(heading[2 if labelled else 1 :])
    if heading[0] != "name" or not class_names:
        raise InputError(f"{path}: the first line must be `name,label,` and the class names")
    scores, labels = [], []
    for number, row in rows:
        where = f"{path}: line {number}"
        if len(row) != len(heading):
            raise InputError(f"{where}: {len(row)} cells; the heading has {len(heading)}")
        try:
            numbers = [float(cell) for cell in row[-len(class_names) :]]
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        scores.append((f"line {number}", numbers))
        labels.append(_label(row[1], class_names, where) if labelled else UNKNOWN)
    return ExternalScores(
        path,
        names=tuple(row[0] for _, row in rows),
        scores=stack_videos(scores, path=path, most=path.stat().st_size),
        labels=np.array(labels, np.int64) if labelled else None,
        class_names=class_names,
    )


def _label(cell: str, class_names: Sequence[str], where: str) -> int:
    if not cell:
        return UNKNOWN
    if cell in class_names:
        return class_names.index(cell)
    if cell.isdecimal() and int(cell) < len(class_names):
        return int(cell)
    raise InputError(f"{where}: label {cell!r} is neither a class of the heading nor its number")
