"""How good events are: mAP of ActivityNet and THUMOS14; frame accuracy, edit score, segmental F1.

All of them are sums over films: so intervals, by leaving out films, and a test that exchanges two
systems film by film, need no new matching of events, only other weights of the films.

mAP is that of ActivityNet's evaluation (Caba Heilbron et al., CVPR 2015) and of ActionFormer's;
frame accuracy, edit score and F1 are those of MS-TCN's (Lea et al., CVPR 2017; Farha and Gall,
CVPR 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fusion.evaluation.comparison import holm
from fusion.evaluation.metrics import grouped_interval, jackknife_error, percent, t_975
from fusion.events.detection import MOST_MOMENTS, labels_at
from fusion.events.event import Event, temporal_iou
from fusion.events.truth import Film, Truth
from twostream_base.errors import InputError

ACTIVITYNET = tuple(np.linspace(0.5, 0.95, 10).tolist())
THUMOS = tuple(np.linspace(0.3, 0.7, 5).tolist())
OVERLAPS = (0.1, 0.25, 0.5)  # of F1
FRAMES_A_SECOND = 25.0  # at which films are labelled, where the truth has no frames of its own
SHOWN = (
    "ActivityNet mAP", "ActivityNet mAP@0.50", "THUMOS14 mAP", "frame accuracy", "edit score",
    "F1@10", "F1@25", "F1@50",
)  # fmt: skip
FLIPS = 2000
MOST_PARTS = 200  # of the films, each left out in turn for intervals
EXACT_FILMS = 10  # with so many or fewer, all 2^F exchanges are tried
SLICE = 2**22  # numbers in memory at a time
SAME = 1e-3  # seconds; annotations that differ by less are one, as in ActionFormer's evaluation

Detections = Mapping[str, Sequence[Event]]  # film -> its events


class ClassMatches(NamedTuple):
    """The detections of one class in all films, by falling score, and which of them are right.

    Attributes:
        films: of each detection, int64 (N,).
        scores: (N,).
        hits: bool (thresholds, N); an event of the truth is hit once at most.
        positives: events of the truth in each film, int64 (F,).
    """

    films: np.ndarray
    scores: np.ndarray
    hits: np.ndarray
    positives: np.ndarray


def match_class(
    detections: Sequence[Sequence[Event]],
    truth: Sequence[Sequence[Event]],
    label: str,
    thresholds: Sequence[float],
) -> ClassMatches:
    """Match the detections of a class with the truth, the surest first.

    Each takes, among the events of its film that are not yet taken, the one with the highest tIoU,
    if that is at least the threshold. Of equal scores the first one counts first; the public
    evaluations leave that order to their sort.

    Args:
        detections, truth: of each of F films.
    """
    rows: list[tuple[int, float, list[bool]]] = []
    positives = np.zeros(len(truth), np.int64)
    for film, (detected, events) in enumerate(zip(detections, truth, strict=True)):
        spans = np.array([e[:2] for e in events if e.label == label]).reshape(-1, 2)
        positives[film] = len(spans)
        matched = np.zeros((len(thresholds), len(spans)), bool)
        of_class = [event for event in detected if event.label == label]
        for event in sorted(of_class, key=lambda event: -event.score):
            overlaps = temporal_iou(event.start, event.end, spans)
            order = np.argsort(overlaps)[::-1]
            hits = [False] * len(thresholds)
            for level, threshold in enumerate(thresholds):
                free = [i for i in order if overlaps[i] >= threshold and not matched[level, i]]
                if free:
                    matched[level, free[0]] = hits[level] = True
            rows.append((film, event.score, hits))
    scores = np.array([row[1] for row in rows])
    order = np.argsort(-scores, kind="stable")
    return ClassMatches(
        np.array([row[0] for row in rows], np.int64)[order],
        scores[order],
        np.array([row[2] for row in rows], bool).reshape(-1, len(thresholds))[order].T,
        positives,
    )


def average_precision(hits: np.ndarray, weights: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Interpolated average precision (VOC 2011), 0..1, for several weightings at once: (B,).

        hits 1 0 1, weights 1, positives 2: 1/2 · 1 + 1/2 · 2/3

    Args:
        hits: bool (N,), by falling score.
        weights: how often each detection counts, (B, N).
        positives: events to find, (B,); where there is none, the result is NaN.
    """
    true_positives, detections = np.cumsum(weights * hits, axis=1), np.cumsum(weights, axis=1)
    precision = np.divide(
        true_positives, detections, out=np.zeros(detections.shape), where=detections > 0
    )
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    gained = (envelope * weights * hits).sum(axis=1)
    nothing = np.full(len(positives), np.nan)
    return np.divide(gained, positives, out=nothing, where=positives > 0)


def class_precisions(
    matches: ClassMatches, film_weights: np.ndarray, positive_weights: np.ndarray | None = None
) -> np.ndarray:
    """Average precision of a class at each threshold, when films count so often: (B, thresholds).

    Args:
        film_weights: (B, F); of the detections.
        positive_weights: (B, F); of the truth, where that differs.
    """
    if positive_weights is None:
        positive_weights = film_weights
    result = np.empty((len(film_weights), len(matches.hits)))
    step = max(1, SLICE // max(1, len(matches.films)))
    for begin in range(0, len(film_weights), step):
        part = slice(begin, begin + step)
        weights = film_weights[part][:, matches.films]
        positives = positive_weights[part] @ matches.positives
        for level, hits in enumerate(matches.hits):
            result[part, level] = average_precision(hits, weights, positives)
    return result


def without_duplicates(events: Sequence[Event]) -> list[Event]:
    """Leave out events shorter than a millisecond, and those that are one within a millisecond.

    So ActionFormer's evaluation of THUMOS14 does with the truth.
    """
    distinct: list[Event] = []
    for event in events:
        twice = any(
            event.label == other.label
            and abs(event.start - other.start) <= SAME
            and abs(event.end - other.end) <= SAME
            for other in distinct
        )
        if event.end - event.start >= SAME and not twice:
            distinct.append(event)
    return distinct


def segments_of_frames(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Stretches of equal labels but -1, as (label, begin, end): 1 1 -1 2 -> (1, 0, 2) (2, 3, 4)."""
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    return [
        (int(labels[begin]), begin, end)
        for begin, end in zip(edges, edges[1:], strict=False)
        if begin < end and labels[begin] >= 0
    ]


def edit_score(predicted: np.ndarray, true: np.ndarray) -> float:
    """1 minus the edit distance of the orders of segments over the longer one's length, 0..1.

    predicted 1 1 2 3, true 1 2 2 2: 1 - 1/3

    Where neither has a segment it is 1.
    """
    first = [label for label, _, _ in segments_of_frames(predicted)]
    second = [label for label, _, _ in segments_of_frames(true)]
    if not first and not second:
        return 1.0
    row = list(range(len(second) + 1))
    for i, label in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(second, 1):
            diagonal, row[j] = (
                row[j],
                diagonal if label == other else 1 + min(row[j], row[j - 1], diagonal),
            )
    return 1 - row[-1] / max(len(first), len(second))


def segment_counts(predicted: np.ndarray, true: np.ndarray, overlap: float) -> tuple[int, int, int]:
    """Segments that are right, wrong and missed at this IoU, for F1.

    Each predicted segment goes to the true one of its class with the highest IoU; it is wrong if
    that was hit before.
    """
    segments = segments_of_frames(true)
    labels = np.array([label for label, _, _ in segments], int)
    spans = np.array([span for _, *span in segments], float).reshape(-1, 2)
    hit = np.zeros(len(segments), bool)
    right = wrong = 0
    for label, begin, end in segments_of_frames(predicted):
        overlaps = temporal_iou(begin, end, spans) * (labels == label)
        best = int(overlaps.argmax()) if len(segments) else -1
        if best >= 0 and overlaps[best] >= overlap and not hit[best]:
            hit[best], right = True, right + 1
        else:
            wrong += 1
    return right, wrong, int((~hit).sum())


def f1_score(right: np.ndarray, wrong: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """F1 of counts, 0..1; NaN where there is nothing to find and nothing was found."""
    total = 2 * right + wrong + missed
    nothing = np.full(np.shape(total), np.nan)
    return np.divide(2.0 * right, total, out=nothing, where=np.asarray(total) > 0)


@dataclass(frozen=True, eq=False)
class Judged:
    """A system and the truth, counted film by film; weights of films give every metric.

    Attributes:
        films: F names.
        classes: of the truth.
        matches: for `activitynet` and `thumos`, the matches of each class.
        frames: (F, 3 + 9): right frames, frames, edit score, and right, wrong and missed segments
            for each of OVERLAPS; None where the truth has more than one class at a time.
    """

    films: tuple[str, ...]
    classes: tuple[str, ...]
    matches: Mapping[str, Sequence[ClassMatches]]
    frames: np.ndarray | None


THRESHOLDS = {"activitynet": ACTIVITYNET, "thumos": THUMOS}


def judge_events(
    detections: Detections, truth: Truth, *, ends: Mapping[str, float] | None = None
) -> Judged:
    """Compare the events of a system with the truth, film by film.

    Args:
        detections: of each film of the truth, and perhaps of others.
        ends: where the scores of each film end, seconds; a film whose duration is not known is
            labelled up to there, or to its last true event.
    """
    films = tuple(sorted(truth.films))
    detected = [list(detections.get(film, ())) for film in films]
    true = [truth.films[film].events for film in films]
    classes = truth.class_names
    matches = {}
    for key, levels in THRESHOLDS.items():
        events = [without_duplicates(e) for e in true] if key == "thumos" else true
        matches[key] = [match_class(detected, events, label, levels) for label in classes]
    frames = None
    if not any(_overlap(truth.films[film]) for film in films):
        names = sorted({*classes, *(event.label for events in detected for event in events)})
        frames = np.array(
            [
                frame_counts(
                    events,
                    truth.films[film].events,
                    names,
                    moments=film_frames(truth.films[film], (ends or {}).get(film, 0.0), truth.rate),
                )
                for film, events in zip(films, detected, strict=True)
            ]
        )
    return Judged(films, tuple(classes), matches, frames)


def film_frames(film: Film, end: float, rate: float | None) -> np.ndarray:
    """The middle of each frame of a film, seconds; at 25 frames a second where none are known.

    Raises:
        InputError: too many for any film.
    """
    rate = rate or FRAMES_A_SECOND
    last = film.duration or max(end, *(e.end for e in (*film.events, *film.background)), 0.0)
    if (count := round(last * rate)) > MOST_MOMENTS:
        raise InputError(
            f"a film of {last:g} s has {count:,} frames at {rate:g} a second; allowed: "
            f"{MOST_MOMENTS:,}. Look for its duration or a late event in the truth"
        )
    return (np.arange(max(1, count)) + 0.5) / rate


def frame_counts(
    events: Sequence[Event],
    true: Sequence[Event],
    class_names: Sequence[str],
    *,
    moments: np.ndarray,
) -> list[float]:
    """A row of `Judged.frames`: of the events of one film and its truth."""
    predicted, expected = (labels_at(e, moments, class_names) for e in (events, true))
    counts = [segment_counts(predicted, expected, overlap) for overlap in OVERLAPS]
    right = int((predicted == expected).sum())
    segments = [float(number) for row in counts for number in row]
    return [float(right), float(len(moments)), edit_score(predicted, expected), *segments]


def _overlap(film: Film) -> bool:
    """Whether two events of a film are at the same time."""
    events = sorted(film.events)
    ends = np.maximum.accumulate([event.end for event in events] or [0.0])
    return any(b.start < end - SAME for b, end in zip(events[1:], ends, strict=False))


def metric_values(
    judged: Judged, weights: np.ndarray, positive_weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Every metric, 0..1, when films count so often: name -> (B,).

    mAP is the mean over the classes with an event in films that count. It is NaN where there is no
    event in these, F1 where there are no detections either.

    Args:
        weights: (B, F). positive_weights: see `class_precisions`.
    """
    values: dict[str, np.ndarray] = {}
    for key, title in (("activitynet", "ActivityNet"), ("thumos", "THUMOS14")):
        of_classes = np.array(
            [class_precisions(m, weights, positive_weights) for m in judged.matches[key]]
        )
        present = ~np.isnan(of_classes)
        sums, counts = np.where(present, of_classes, 0).sum(axis=0), present.sum(axis=0)
        means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        values[f"{title} mAP"] = means.mean(axis=1)
        for level, threshold in enumerate(THRESHOLDS[key]):
            values[f"{title} mAP@{threshold:.2f}"] = means[:, level]
    if judged.frames is not None:
        sums = weights @ judged.frames
        values["frame accuracy"] = sums[:, 0] / sums[:, 1]
        values["edit score"] = sums[:, 2] / weights.sum(axis=1)
        for number, overlap in enumerate(OVERLAPS):
            counts = sums[:, 3 + 3 * number : 6 + 3 * number].T
            values[f"F1@{100 * overlap:.0f}"] = f1_score(*counts)
    return values


def without_parts(count: int, rng: np.random.Generator | int) -> np.ndarray:
    """Weights (parts, films) with one part of the films left out at a time.

    A part is a film; of more than 200 films, a few that are drawn at random. A single film stays.
    """
    if count == 1:
        return np.ones((1, 1))
    parts = np.arange(count)
    if count > MOST_PARTS:
        parts = np.random.default_rng(rng).permutation(count) % MOST_PARTS
    return (parts != np.arange(parts.max() + 1)[:, None]).astype(float)


def film_interval(value: float, without: np.ndarray, *, lowest: float) -> list[float] | None:
    """95 % interval in percent of a metric, or of a difference, from `lowest` to 1.

    By the jackknife of films with the quantile of Student's t: of a handful of films a bootstrap's
    is too narrow. Films that all say the same show no variance, though others may say otherwise:
    then it is as wide as Wilson's of such a share of as many films.

    None, as the films cannot tell, for a single film; where those that stay as one is left out have
    no value, since all events are in that one; and where two systems do not differ on any film.

    Args:
        without: the value of all films but one, for each that is left out; NaN where it has none.
    """
    if len(without) < 2 or np.isnan(without).any():
        return None
    error = jackknife_error(without)
    half = t_975(len(without) - 1) * error
    if error < 1e-12:
        if lowest < 0 and abs(value) < 1e-12:
            return None
        films = np.ones(len(without))
        low, high = grouped_interval(abs(value), 0.0, videos=len(films), sizes=films)
        half = max(abs(value) - low, high - abs(value))
    return [percent(max(lowest, value - half)), percent(min(1.0, value + half))]


def event_metrics(judged: Judged, *, rng: np.random.Generator | int = 0) -> dict[str, Any]:
    """Every metric of a system, as JSON values: `percent`, and its 95 % `interval`.

    The interval is by whole films (`film_interval`), or None. Where all events of a class are in
    one film, the others without it are judged on the classes that they have.
    """
    count = len(judged.films)
    values = metric_values(judged, np.ones((1, count)))
    without = metric_values(judged, without_parts(count, rng))
    return {
        name: {
            "percent": percent(np.nan_to_num(value)),
            "interval": film_interval(value, without[name], lowest=0.0),
        }
        for name, (value,) in values.items()
    }


def class_result(judged: Judged) -> list[dict[str, Any]]:
    """For each class of the truth its events, and average precision at tIoU 0.5, percent."""
    once = np.ones((1, len(judged.films)))
    return [
        {
            "class": label,
            "events": int(matches.positives.sum()),
            "detections": len(matches.films),
            "ap50": percent(class_precisions(matches, once)[0, 0]),
        }
        for label, matches in zip(judged.classes, judged.matches["activitynet"], strict=True)
    ]


def compare_systems(
    first: Judged, second: Judged, *, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Is one system better than another on the same films? For the metrics SHOWN, as JSON values.

    `difference` in percent points (first minus second) with its 95 % `interval` by films, the same
    for both (`film_interval`), or None; and `p`, two-sided, of a randomisation test: if neither is
    better, exchanging the two in any film changes nothing. All exchanges are tried for 10 films or
    fewer, else 2,000 of them. `p_holm` is p after Holm's correction for all metrics here.
    """
    count = len(first.films)
    both = _side_by_side(first, second)
    ones = np.ones((1, count))

    def differences(keep: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        """First minus second where `keep` (B, F) is 1, exchanged where it is 0."""
        same, exchanged, twice = weights * keep, weights * (1 - keep), np.hstack([weights, weights])
        a = metric_values(both, np.hstack([same, exchanged]), twice)
        b = metric_values(both, np.hstack([exchanged, same]), twice)
        return {name: a[name] - b[name] for name in SHOWN if name in a}

    observed = differences(ones, ones)
    if count <= EXACT_FILMS:
        flips = np.array(list(product((0.0, 1.0), repeat=count)))
    else:
        flips = rng.integers(0, 2, size=(FLIPS, count)).astype(float)
        flips[0] = 1  # the observed one is one of all
    random = differences(flips, np.ones_like(flips))
    left = without_parts(count, rng)
    without = differences(np.ones_like(left), left)
    rows: list[dict[str, Any]] = []
    for name, (value,) in observed.items():
        difference = np.nan_to_num(value)
        extreme = np.abs(np.nan_to_num(random[name])) >= abs(difference) - 1e-12
        rows.append(
            {
                "metric": name,
                "difference": percent(difference),
                "interval": film_interval(difference, without[name], lowest=-1.0),
                "p": float(extreme.mean()),
            }
        )
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
    return rows


def _side_by_side(first: Judged, second: Judged) -> Judged:
    """Two systems as one of 2F films, first those of the first; see `compare_systems`."""
    count = len(first.films)
    matches: dict[str, list[ClassMatches]] = {}
    for key in THRESHOLDS:
        matches[key] = []
        for a, b in zip(first.matches[key], second.matches[key], strict=True):
            scores = np.concatenate([a.scores, b.scores])
            order = np.argsort(-scores, kind="stable")
            matches[key].append(
                ClassMatches(
                    np.concatenate([a.films, b.films + count])[order],
                    scores[order],
                    np.hstack([a.hits, b.hits])[:, order],
                    np.concatenate([a.positives, 0 * b.positives]),
                )
            )
    frames = None
    if first.frames is not None and second.frames is not None:
        frames = np.vstack([first.frames, second.frames])
    return Judged(first.films + second.films, first.classes, matches, frames)
