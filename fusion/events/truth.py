"""Ground truth of events: ActivityNet's JSON, THUMOS14, frame-wise label files, and CSV lists."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any

from fusion.events.detection import BACKGROUND
from fusion.events.event import Event
from twostream_base.errors import InputError, some_of
from twostream_base.files import parse_json, read_text
from twostream_base.text import read_numbered_csv
from twostream_base.video_names import match_names, without_suffix

LARGEST_FILE = 512 * 2**20  # bytes; ActivityNet 1.3 with all its subsets has 7 million
LONGEST = 1e7  # seconds, four months
HIGHEST_RATE = 1000  # frames a second
AMBIGUOUS = "Ambiguous"  # THUMOS: moments of which its authors were not sure; no class
FORMATS = (
    "a JSON file as ActivityNet's, a CSV file of video,start,end,label, a folder of THUMOS14's "
    "files, one a class, or a folder of frame-wise label files, one a video"
)


@dataclass(frozen=True, slots=True)
class Film:
    """What happens in one film.

    Attributes:
        events: in the order of their starts; may overlap.
        duration: seconds; None where it is not known.
        subset: such as `validation`; empty where none is named.
        background: stretches of which the truth itself says that nothing happens in them.
        ambiguous: starts and ends of stretches of which it does not say what happens in them; they
            are neither events nor background.
    """

    events: tuple[Event, ...]
    duration: float | None = None
    subset: str = ""
    background: tuple[Event, ...] = ()
    ambiguous: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Truth:
    """A ground truth.

    Attributes:
        films: by name, without a video's suffix.
        rate: frames a second, of frame-wise labels; else None.
        notes: what was left out in reading, a line each.
    """

    films: Mapping[str, Film]
    rate: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def class_names(self) -> list[str]:
        """The classes of all events, in the alphabet's order; never the background."""
        return sorted({event.label for film in self.films.values() for event in film.events})


def read_truth(
    path: str | PathLike[str],
    *,
    fps: float | None = None,
    subset: str | None = None,
    background: str | None = None,
) -> Truth:
    """Read a ground truth; what the file looks like tells the format.

    - ActivityNet: JSON with a `database`, also THUMOS14's as ActionFormer has it.
    - CSV with the columns video, start, end, label, and perhaps subset, duration, and fps where
      times are frames. A row with a video alone says that nothing happens in it.
    - THUMOS14: `<class>_<subset>.txt`, lines of `video start end`.
    - Frame-wise labels (MS-TCN and others): `<video>.txt`, a label a line for each frame.

    Args:
        path: file, or folder of files.
        fps: frames a second: the times of a CSV file are then frames (`end` is the frame behind the
            last one). Needed for frame-wise labels.
        subset: only the films of this one.
        background: a label that is no event; by default `background`, in any case.

    Raises:
        InputError: the first thing that is wrong, with its file and line.
    """
    path = Path(path)
    if fps is not None and not 0 < fps <= HIGHEST_RATE:
        raise InputError(f"fps is {fps}; it must be above 0 and at most {HIGHEST_RATE}")
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; a truth is {FORMATS}")
    files = sorted(p for p in path.glob("*.txt")) if path.is_dir() else [path]
    files = [file for file in files if file.name not in ("mapping.txt", "classes.txt")]
    if not files:
        raise InputError(f"{path}: no file *.txt in it; a truth is {FORMATS}")
    if large := next((file for file in files if file.stat().st_size > LARGEST_FILE), None):
        raise InputError(f"{large}: more than {LARGEST_FILE >> 20} MiB; no ground truth is")
    suffix, rate, ambiguous = path.suffix.lower(), None, ""
    if suffix == ".json":
        films, ambiguous = read_activitynet(path), AMBIGUOUS
    elif suffix == ".csv":
        films = read_event_csv(path, fps=fps)
    elif path.is_dir() or suffix == ".txt":
        if _THUMOS_LINE.fullmatch(next(iter(read_text(files[0]).splitlines()), "").strip()):
            films, ambiguous = read_thumos(files), AMBIGUOUS
        else:
            films, rate = read_frame_labels(files, fps=fps, where=path), fps
    else:
        raise InputError(f"{path}: unknown format; a truth is {FORMATS}")
    labels = [event.label for film in films.values() for event in film.events]
    notes: tuple[str, ...] = ()
    if ambiguous and (count := labels.count(ambiguous)):
        notes = (f"{count:,} events of the class {ambiguous} are left out",)
    if subset is not None:
        subsets = sorted({film.subset for film in films.values()} - {""})
        films = {
            name: film
            for name, film in films.items()
            if film.subset.casefold() == subset.casefold()
        }
        if not films:
            named = ", ".join(subsets) or "none"
            raise InputError(f"{path}: no film of the subset {subset!r}; it has {named}")
    nothing = (background or BACKGROUND).casefold()
    for name, film in films.items():
        known = sorted(event for event in film.events if event.label != ambiguous)
        films[name] = replace(
            film,
            events=tuple(event for event in known if event.label.casefold() != nothing),
            background=tuple(event for event in known if event.label.casefold() == nothing),
            ambiguous=tuple(event[:2] for event in film.events if event.label == ambiguous),
        )
    if not any(film.events for film in films.values()):
        raise InputError(f"{path}: no event in any of {len(films):,} films")
    return Truth(films, rate, notes)


def read_activitynet(path: Path) -> dict[str, Film]:
    """Read ActivityNet's JSON: `database`, then video -> `subset`, `duration`, `annotations`."""
    text = read_text(path)
    try:
        content = parse_json(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}; no ground truth is") from None
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise InputError(f"{path}: no object `database` in it, as ActivityNet's JSON has")
    films: dict[str, Film] = {}
    for video, facts in database.items():
        where = f"{path}: video {video!r}"
        annotations = facts.get("annotations", []) if isinstance(facts, dict) else None
        if not isinstance(annotations, list):
            raise InputError(f"{where}: expected an object with a list `annotations`")
        duration = facts.get("duration")
        if duration is not None:
            duration = _seconds(duration, where=f"{where}, duration")
        events = []
        for number, item in enumerate(annotations, 1):
            place = f"{where}, annotation {number}"
            segment = item.get("segment") if isinstance(item, dict) else None
            if not (isinstance(segment, list) and len(segment) == 2):
                raise InputError(f"{place}: `segment` is {segment!r}; expected [start, end]")
            label = item.get("label")
            if not isinstance(label, str) or not label.strip():
                raise InputError(f"{place}: `label` is {label!r}; expected the name of a class")
            events.append(make_event(segment[0], segment[1], label, where=place))
        film = Film(tuple(events), duration, str(facts.get("subset", "")))
        _add(films, video, film, where=where)
    return films


_THUMOS_LINE = re.compile(r"(\S+)\s+([-+.\deE]+)\s+([-+.\deE]+)")


def read_thumos(files: Sequence[Path]) -> dict[str, Film]:
    """Read THUMOS14's files `<class>_<subset>.txt`, with lines of `video start end`, seconds."""
    events: dict[str, list[Event]] = defaultdict(list)
    subsets: dict[str, str] = {}
    for file in files:
        label, mark, subset = file.stem.rpartition("_")
        if not mark:
            raise InputError(f"{file}: the name is not <class>_<subset>.txt, as THUMOS14's are")
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if not line.strip():
                continue
            row = _THUMOS_LINE.fullmatch(line.strip())
            if not row:
                raise InputError(f"{file}:{number}: {line!r}; expected: video start end")
            video = without_suffix(row[1])
            if subsets.setdefault(video, subset) != subset:
                raise InputError(
                    f"{file}:{number}: {video} is of the subset {subsets[video]} in another file"
                )
            events[video].append(make_event(row[2], row[3], label, where=f"{file}:{number}"))
    return {video: Film(tuple(events[video]), None, subset) for video, subset in subsets.items()}


def read_frame_labels(files: Sequence[Path], *, fps: float | None, where: Path) -> dict[str, Film]:
    """Read files of a label a line, for each frame of the video that the file is named after.

    Raises:
        InputError: without `fps`; or a line without, or with more than one label.
    """
    if fps is None:
        raise InputError(
            f"{where}: frame-wise labels need the frames a second that they were made at; give "
            "--fps (15 for GTEA and Breakfast, 30 for 50Salads)"
        )
    films: dict[str, Film] = {}
    for file in files:
        labels = [line.strip() for line in read_text(file).splitlines()]
        if not labels:
            raise InputError(f"{file}: it is empty; expected a label a line")
        if "" in labels:
            raise InputError(f"{file}:{labels.index('') + 1}: no label in this line")
        changes = [0, *(i for i, (a, b) in enumerate(pairwise(labels), 1) if a != b), len(labels)]
        events = tuple(
            Event(begin / fps, end / fps, labels[begin]) for begin, end in pairwise(changes)
        )
        _add(films, file.stem, Film(events, len(labels) / fps), where=str(file))
    return films


def read_event_csv(path: Path, *, fps: float | None = None) -> dict[str, Film]:
    """Read rows of video, start, end, label, perhaps subset, duration, fps; the header names them.

    Times and durations are in seconds, or with `fps` in frames; a row's own fps counts.
    """
    events: dict[str, list[Event]] = defaultdict(list)
    facts: dict[str, tuple[str, float | None]] = {}
    for where, row in read_event_rows(path):
        video = without_suffix(row["video"])
        duration = row.get("duration") or None
        seconds = None
        if duration is not None:
            rate = _rate_of_row(row, where=where, fps=fps)
            seconds = _seconds(duration, where=where) / (rate or 1)
        known = (row.get("subset", ""), seconds)
        if facts.setdefault(video, known) != known:
            raise InputError(
                f"{where}: {video} has the subset and duration {known}, in a row above "
                f"{facts[video]}; they must be the same in all rows of a video"
            )
        if row["start"] or row["end"] or row["label"]:
            events[video].append(event_of_row(row, where=where, fps=fps))
    return {
        video: Film(tuple(events[video]), duration, subset)
        for video, (subset, duration) in facts.items()
    }


def read_event_rows(
    path: Path, *, needed: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row of a CSV list of events stands (`file:line`), and its cells by column.

    Args:
        needed: columns beside video, start, end and label.

    Raises:
        InputError: no such file, a column is missing, or a row has more or fewer cells than the
            header.
    """
    columns = ("video", "start", "end", "label", *needed)
    if not path.is_file():
        raise InputError(f"{path}: no such file; it is to be a CSV file of {','.join(columns)}")
    (_, header), *rows = read_numbered_csv(path) or [(1, [])]
    heading = [cell.strip().casefold() for cell in header]
    if missing := [column for column in columns if column not in heading]:
        raise InputError(
            f"{path}:1: no column {missing[0]!r}; the first line must name the columns "
            f"{','.join(columns)}, and may name subset, duration and fps"
        )
    for number, cells in rows:
        where = f"{path}:{number}"
        if len(cells) != len(heading):
            raise InputError(f"{where}: {len(cells)} cells; the header has {len(heading)}")
        row = dict(zip(heading, (cell.strip() for cell in cells), strict=True))
        if not row["video"]:
            raise InputError(f"{where}: the video is empty")
        yield where, row


def event_of_row(row: Mapping[str, str], *, where: str, fps: float | None = None) -> Event:
    """The event of a row of `read_event_rows`; its own `fps`, where it has one, counts.

    Raises:
        InputError: as `make_event`; or an fps that is none.
    """
    rate = _rate_of_row(row, where=where, fps=fps)
    return make_event(row["start"], row["end"], row["label"], where=where, fps=rate)


def make_event(start: Any, end: Any, label: str, *, where: str, fps: float | None = None) -> Event:
    """An event of times as texts or numbers, in seconds, or with `fps` in frames.

    Raises:
        InputError: no times, an end before the start, or no label; `where` is named.
    """
    times = [_seconds(value, where=where) / (fps or 1) for value in (start, end)]
    if times[1] < times[0]:
        raise InputError(f"{where}: end {end} is before start {start}")
    if not label:
        raise InputError(f"{where}: no label")
    return Event(times[0], times[1], label)


def pair_films(truth: Truth, films: Sequence[str], *, allow_missing: bool = False) -> Truth:
    """The truth of films that have scores, by their names in the score file.

    Names are matched as those of videos are (`match_names`). Films with scores, of which the truth
    says nothing, are not judged; a note says so.

    Args:
        allow_missing: leave out, with a note, films of the truth without scores.

    Raises:
        InputError: films of the truth have no scores; or none has.
    """
    matches = match_names(list(truth.films), list(films), ignore_folders=True)
    absent = [name for name in truth.films if name not in matches]
    if not matches:
        raise InputError(
            f"none of the truth's {len(truth.films):,} films has scores; it names "
            f"{some_of(list(truth.films), limit=3)}, the scores {some_of(list(films), limit=3)}"
        )
    subsets = sorted({film.subset for film in truth.films.values()} - {""})
    if absent and not allow_missing:
        named = f"--subset one of {', '.join(subsets)}, " if len(subsets) > 1 else ""
        raise InputError(
            f"{len(absent):,} of the truth's {len(truth.films):,} films have no scores: "
            f"{some_of(absent)}; give {named}their scores too, or --allow-missing to judge the "
            "others alone"
        )
    notes = list(truth.notes)
    if absent:
        notes.append(f"{len(absent):,} films of the truth have no scores: {some_of(absent)}")
    if unknown := sorted(set(films) - set(matches.values())):
        notes.append(
            f"{len(unknown):,} films with scores are not in the truth, and are not judged: "
            f"{some_of(unknown)}"
        )
    paired = {place: truth.films[name] for name, place in matches.items()}
    return replace(truth, films=paired, notes=tuple(notes))


def _add(films: dict[str, Film], video: str, film: Film, *, where: str) -> None:
    name = without_suffix(video)
    if name in films:
        raise InputError(f"{where}: there is a film {name} already")
    films[name] = film


def _rate_of_row(row: Mapping[str, str], *, where: str, fps: float | None) -> float | None:
    """Frames a second of the times of a row: its own fps, else `fps`; None: they are seconds."""
    if not (rate := row.get("fps")):
        return fps
    number = _seconds(rate, where=f"{where}, fps")
    if not 0 < number <= HIGHEST_RATE:
        raise InputError(f"{where}: fps {rate}; it must be above 0, at most {HIGHEST_RATE}")
    return number


def _seconds(value: Any, *, where: str) -> float:
    """A time that is a number from 0 to four months."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= LONGEST:
        raise InputError(f"{where}: {value!r} is no time; expected a number from 0 to {LONGEST:g}")
    return number
