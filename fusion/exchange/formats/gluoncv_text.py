"""Score files of GluonCV and what descends from it (VideoMAE, UniFormer): a text line a view."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fusion.exchange.formats.external_scores import ExternalScores, stack_videos
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text

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

    Raises:
        InputError: a line of another form, views that some videos lack, or two labels for a video.
    """
    views: dict[str, Views] = {}
    labels: dict[str, int] = {}
    text = read_text(path)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or _HEADING.fullmatch(line.strip()):
            continue
        name, label, place, scores = _parse(line, where=f"{path}: line {number}")
        if labels.setdefault(name, label) != label:
            raise InputError(f"{path}: line {number}: {name} has labels {labels[name]} and {label}")
        views.setdefault(name, {}).setdefault(place, scores)
    _check_views(views, path)
    rows = [(name, _grid(own, where=f"{path}: {name}")) for name, own in views.items()]
    scores = stack_videos(rows, path=path, most=len(text))
    return ExternalScores(path, tuple(views), scores, np.array(list(labels.values()), np.int64))


def _parse(line: str, *, where: str) -> tuple[str, int, tuple[int, int], np.ndarray]:
    found = _LINE.fullmatch(line.strip())
    try:
        if found is None:
            raise ValueError
        scores = np.array([float(part) for part in found["scores"].split(",")], np.float32)
        return found["name"], int(found["label"]), (int(found["chunk"]), int(found["crop"])), scores
    except ValueError:
        raise InputError(f"{where}: expected `name [scores] label chunk crop`") from None


def _check_views(views: Mapping[str, Views], path: Path) -> None:
    everything = {place for own in views.values() for place in own}
    lacking = [name for name, own in views.items() if own.keys() != everything]
    chunks, crops = ({place[axis] for place in everything} for axis in (0, 1))
    if lacking or len(everything) != len(chunks) * len(crops):
        raise InputError(
            f"{path}: {len(chunks)} chunks and {len(crops)} crops, but not all of them for "
            f"{some_of(lacking) or 'any video'}; are the files of all processes joined?"
        )


def _grid(views: Views, *, where: str) -> np.ndarray:
    """Scores of a video's views, (chunks, crops, classes)."""
    rows = [views[place] for place in sorted(views)]
    if len({row.size for row in rows}) > 1:
        raise InputError(f"{where}: its views have different numbers of classes")
    crops = len({crop for _, crop in views})
    return np.stack(rows).reshape(-1, crops, rows[0].size)
