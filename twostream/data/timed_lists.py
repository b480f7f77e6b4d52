"""Lists of training clips, out of a ground truth of what happens in long videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fusion.events.detection import BACKGROUND
from fusion.events.event import Event
from fusion.events.truth import Film, Truth
from twostream.data.splits import SPLITS
from twostream_base.errors import InputError, some_of
from twostream_base.text import write_csv

SHORTEST = 0.1  # seconds; shorter clips have no motion to speak of
# How the field's truths name the subsets that are learnt from and judged on. THUMOS14 trains on its
# validation videos; ActivityNet tests on its own, as the labels of its test videos are not public.
TRAIN, VALIDATION, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")


def write_timed_lists(
    annotations: Path, truth: Truth, *, test_fraction: float, pauses: bool = True
) -> list[str]:
    """Write `clips01.csv`, or of three random splits, for the events of a truth.

    A clip has one label. Of events with the same times that of the class with the fewest events
    stays: THUMOS14 lists each CliffDiving as Diving too, and neither class is to become empty.

    Where the truth names subsets these are kept (see `subset_roles`); else whole films are drawn
    for the test of each split, the same for the same films.

    Args:
        test_fraction: of the films.
        pauses: stretches between events become clips of the class `background`, as those that the
            truth itself calls so do in any case.

    Returns:
        What was done, and left out, a line each.

    Raises:
        InputError: too few films or subsets for a split.
    """
    clips: dict[str, list[Event]] = {}
    short = doubled = 0
    counts = Counter(event.label for film in truth.films.values() for event in film.events)
    outdone: Counter[str] = Counter()
    for name, film in truth.films.items():
        labelled = [*film.events, *(e._replace(label=BACKGROUND) for e in film.background)]
        listed = [*labelled, *(pauses_of(film) if pauses else ())]
        of_film = sorted(e for e in listed if e.end - e.start >= SHORTEST)
        rounded = {(round(e.start, 3), round(e.end, 3), e.label): e for e in of_film}
        short += sum(e.end - e.start < SHORTEST for e in labelled)
        doubled += len(of_film) - len(rounded)
        by_times: dict[tuple[float, float], list[Event]] = {}
        for (start, end, _), event in rounded.items():
            by_times.setdefault((start, end), []).append(event)
        clips[name] = []
        for events in by_times.values():
            rarest, *others = sorted(
                events, key=lambda e: (e.label == BACKGROUND, counts[e.label], e.label)
            )
            clips[name].append(rarest)
            outdone.update(event.label for event in others)
    roles = subset_roles(
        {film.subset for film in truth.films.values() if film.events or film.background}
    )
    sides: dict[int, dict[str, str]] = {}
    if roles:
        sides[1] = {
            name: roles[film.subset] for name, film in truth.films.items() if film.subset in roles
        }
    else:
        films = sorted(name for name, events in clips.items() if events)
        tested = round(test_fraction * len(films))
        if not 0 < tested < len(films):
            raise InputError(
                f"{len(films)} films with events: no split leaves films to learn from and to test "
                f"on, with --test-fraction {test_fraction:g}"
            )
        for split in SPLITS:
            order = np.random.default_rng(split).permutation(len(films))
            test = {films[index] for index in order[:tested]}
            sides[split] = {name: "test" if name in test else "train" for name in films}
    for split, side in sides.items():
        rows = [
            (name, f"{e.start:.3f}", f"{e.end:.3f}", e.label, side[name])
            for name in side
            for e in clips[name]
        ]
        heading = ("video", "start", "end", "label", "subset")
        write_csv(annotations / f"clips{split:02d}.csv", [heading, *rows])
    count = sum(len(clips[name]) for name in sides[1])
    lines = [f"wrote lists of {count:,} clips of {len(sides[1]):,} films to {annotations}"]
    if left := [name for name in truth.films if name not in sides[1]]:
        lines.append(f"left out {len(left):,} films of no subset in use: {some_of(left)}")
    if short:
        lines.append(f"left out {short:,} events shorter than {SHORTEST} s")
    if doubled:
        lines.append(f"left out {doubled:,} events that are listed twice")
    if outdone:
        labels = some_of([f"{label} ({count:,})" for label, count in sorted(outdone.items())])
        lines.append(
            f"left out {outdone.total():,} events with the times of one of a rarer class, as a "
            f"clip has one label: {labels}"
        )
    return [*lines, *truth.notes]


def pauses_of(film: Film) -> Iterable[Event]:
    """The stretches of a film of which its truth says nothing; its end only of known length.

    events 2..4, 3..6, of 10 seconds: 0..2, 6..10
    ambiguous 7..8 too: 0..2, 6..7, 8..10
    """
    end = 0.0
    spans = [event[:2] for event in (*film.events, *film.background)]
    for start, stop in sorted([*spans, *film.ambiguous]):
        if start > end:
            yield Event(end, start, BACKGROUND)
        end = max(end, stop)
    if film.duration is not None and film.duration > end:
        yield Event(end, film.duration, BACKGROUND)


def subset_roles(subsets: Iterable[str]) -> dict[str, str]:
    """Which subsets of a truth are `train`, `val` and `test`; empty where there is none or one.

        training, validation: train, test (ActivityNet)
        validation, test: train, test (THUMOS14)
        train, val, test: as they are called

    Raises:
        InputError: other names.
    """
    named = sorted(set(subsets) - {""})
    if len(named) < 2:
        return {}

    def of(names: Sequence[str]) -> str | None:
        return next((subset for subset in named if subset.casefold() in names), None)

    present = [subset for subset in (of(TRAIN), of(VALIDATION), of(TEST)) if subset is not None]
    if len(present) != len(named):
        raise InputError(
            f"the truth has the subsets {', '.join(named)}; expected train, validation and test, "
            "or two of them"
        )
    return dict(zip(present, ("train", "val", "test") if len(present) == 3 else ("train", "test"),
                    strict=True))  # fmt: skip
