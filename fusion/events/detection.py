"""From the scores of windows to events: per-moment probabilities, smoothing, thresholds, NMS.

Windows overlap, so first each moment of a regular grid gets the mean probabilities of the windows
that cover it. An event is then a stretch of moments in which one class is likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from fusion.events.event import Event, temporal_iou
from twostream_base.errors import InputError

STEPS_PER_STRIDE = 4  # moments from one window to the next: overlapping means vary in between
MOST_MOMENTS = 10_000_000  # of a film: 4 days at 25 a second
MOST_VALUES = 200_000_000  # moments times classes: 1.6 GB
THRESHOLD = 0.5
BACKGROUND = "background"  # in any case; the class of moments at which nothing happens


@dataclass(frozen=True, kw_only=True)
class DetectionOptions:
    """How events are found; the defaults suit windows that overlap by half or more.

    Attributes:
        step: from one moment to the next, seconds; None: a quarter of the windows' stride.
        median, gaussian: smoothing of the probabilities over time, by the median of so many seconds
            and by a Gaussian with such a standard deviation, seconds; 0: none.
        thresholds: an event reaches this probability, 0..1. With several, the events of each are
            candidates, of which non-maximum suppression takes the best. None: 0.5, or `argmax`
            where there is a background class, which a network has learnt to tell from the others.
        hysteresis: it goes on as long as the probability is at least this share of the threshold.
        argmax: instead of thresholds, each moment belongs to its most probable class.
        max_gap: events of a class are one if no more than so many seconds lie between them.
        min_length: of an event, seconds.
        nms: of two events of a class with a higher tIoU than this, the one with the lower score is
            suppressed; 1: none is.
        soft_nms: sigma of soft-NMS, which lowers scores instead; 0: none.
        background: the class that is no event; None: one that is called so, if there is one.
    """

    step: float | None = None
    median: float = 0.0
    gaussian: float = 0.0
    thresholds: tuple[float, ...] | None = None
    hysteresis: float = 0.8
    argmax: bool = False
    max_gap: float = 0.0
    min_length: float = 0.0
    nms: float = 0.5
    soft_nms: float = 0.0
    background: str | None = None


@dataclass(frozen=True, eq=False)
class Moments:
    """Probabilities at the moments of a film.

    Attributes:
        start: seconds; moment i is the stretch from start + i step to start + (i + 1) step.
        step: seconds.
        probabilities: float64 (T, C); all 0 at moments that no window covers.
    """

    start: float
    step: float
    probabilities: np.ndarray

    def span(self, begin: int, end: int) -> tuple[float, float]:
        """Start and end in seconds of the moments from `begin` up to, not with, `end`."""
        return self.start + begin * self.step, self.start + end * self.step


def detect_events(
    times: ArrayLike,
    probabilities: ArrayLike,
    class_names: Sequence[str],
    options: DetectionOptions | None = None,
) -> list[Event]:
    """The events of one film, in the order of their starts.

        times = [[0, 2], [1, 3], [2, 4], [3, 5]]
        probabilities = [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.9, 0.1]]
        detect_events(times, probabilities, ["background", "jump"])
        # [Event(start=1.5, end=3.5, label='jump', score=0.75...)]

    Args:
        times: start and end of each window, (W, 2) seconds.
        probabilities: of each window, (W, C), 0..1.
        class_names: C names.

    Raises:
        InputError: an option out of its range, a background that is no class, or too many moments.
    """
    options = options or DetectionOptions()
    check_options(options)
    moments = moments_of_windows(times, probabilities, step=options.step)
    moments = smooth(moments, median=options.median, gaussian=options.gaussian)
    background = background_class(class_names, options.background)
    argmax = options.argmax or (options.thresholds is None and background is not None)
    curves = moments.probabilities
    highest = curves.argmax(axis=1)
    events: list[Event] = []
    for label, name in enumerate(class_names):
        if name == background:
            continue
        curve = curves[:, label]
        if argmax:
            levels = [runs(((highest == label) & (curve > 0)).astype(float), high=0.5, low=0.5)]
        else:
            levels = [
                runs(curve, high=high, low=options.hysteresis * high)
                for high in options.thresholds or (THRESHOLD,)
            ]
        of_class = []
        for level in levels:
            for begin, end in merge_gaps(level, gap=options.max_gap / moments.step):
                start, stop = moments.span(begin, end)
                if stop - start >= options.min_length:
                    of_class.append(Event(start, stop, name, float(curve[begin:end].mean())))
        if len(levels) > 1:  # events of one level do not overlap
            of_class = suppress(of_class, iou=options.nms)
            if options.soft_nms:
                of_class = soften(of_class, sigma=options.soft_nms)
        events += of_class
    return sorted(events)


def check_options(options: DetectionOptions) -> None:
    """Refuse options out of their range.

    Raises:
        InputError: the option, its value, and what is allowed.
    """
    for name in ("median", "gaussian", "max_gap", "min_length", "soft_nms"):
        value = getattr(options, name)
        if not 0 <= value < np.inf:
            raise InputError(f"{name.replace('_', '-')} is {value}; it must be 0 or more")
    if options.step is not None and not 0 < options.step < np.inf:
        raise InputError(f"step is {options.step}; it must be more than 0 seconds")
    if options.thresholds == () and not options.argmax:
        raise InputError("no threshold; give at least one, from 0 to 1")
    shares = {
        "nms": [options.nms],
        "hysteresis": [options.hysteresis],
        "threshold": options.thresholds or (),
    }
    for name, values in shares.items():
        for value in values:
            if not 0 < value <= 1:
                raise InputError(f"{name} is {value}; it must be above 0 and at most 1")


def background_class(class_names: Sequence[str], name: str | None = None) -> str | None:
    """The class of moments at which nothing happens; None where there is none.

    Raises:
        InputError: `name` is none of the classes.
    """
    if name is not None:
        if name not in class_names:
            raise InputError(
                f"background {name!r} is none of the {len(class_names)} classes; the first are "
                f"{', '.join(class_names[:5])}"
            )
        return name
    return next((c for c in class_names if c.casefold() == BACKGROUND), None)


def moments_of_windows(
    times: ArrayLike, probabilities: ArrayLike, *, step: float | None = None
) -> Moments:
    """The mean probabilities of the windows that cover each moment, weighted by their nearness.

    A window's weight falls in a straight line from its centre to its ends. So edges stay sharper
    than with equal weights; of windows that do not overlap, each moment has its own window's.

        times [[0 4] [2 6]], probabilities [[1] [0]], step 1: 1 1 0.75 0.25 0 0

    Args:
        times: (W, 2) seconds, in any order.
        probabilities: (W, C).
        step: seconds; by default a quarter of the median distance of the starts, or of the
            shortest window if that is less.

    Raises:
        InputError: no window, a window without length, or more moments, or values, than allowed.
    """
    times, probabilities = np.asarray(times, np.float64), np.asarray(probabilities, np.float64)
    if times.ndim != 2 or times.shape != (len(probabilities), 2) or not len(times):
        raise InputError(
            f"times are {times.shape} for {len(probabilities)} windows; they must be (windows, 2)"
        )
    if not (np.isfinite(times).all() and (times[:, 0] < times[:, 1]).all()):
        raise InputError("a window must end after it starts, at a time that is a number")
    first, last = float(times[:, 0].min()), float(times[:, 1].max())
    if step is None:
        starts = np.unique(times[:, 0])
        stride = float(np.median(np.diff(starts))) if len(starts) > 1 else last - first
        # Windows shorter than their stride leave gaps; none may fall between two moments.
        step = min(stride, float(np.diff(times).min())) / STEPS_PER_STRIDE
    count = max(1, int(np.ceil((last - first) / step - 1e-6)))
    if count > MOST_MOMENTS:
        raise InputError(
            f"{count:,} moments of {step:g} s are more than {MOST_MOMENTS:,}; give a longer step"
        )
    classes = probabilities.shape[1]
    if count * classes > MOST_VALUES:
        raise InputError(
            f"{count:,} moments of {step:g} s and {classes:,} classes are {count * classes:,} "
            f"values, more than {MOST_VALUES:,}; give a longer step"
        )
    total, weights = np.zeros((count, classes)), np.zeros(count)
    centres = first + (np.arange(count) + 0.5) * step
    for (start, end), scores in zip(times, probabilities, strict=True):
        covered = slice(*np.searchsorted(centres, [start, end]))
        near = 1 - np.abs(centres[covered] - (start + end) / 2) / ((end - start) / 2)
        near = np.maximum(near, 1e-9)
        total[covered] += near[:, None] * scores
        weights[covered] += near
    means = np.divide(total, weights[:, None], out=total, where=weights[:, None] > 0)
    return Moments(first, step, means)


def smooth(moments: Moments, *, median: float = 0.0, gaussian: float = 0.0) -> Moments:
    """Smooth the probabilities over time; at both ends the outermost moment goes on.

        step 1, median 3: 0 1 0 1 1 -> 0 0 1 1 1

    Args:
        median: length of the stretch of which each moment gets the median, seconds; 0: none.
        gaussian: standard deviation, seconds; 0: none.
    """
    from scipy import ndimage

    values = moments.probabilities
    size = 2 * round((median / moments.step - 1) / 2) + 1  # an odd number of moments
    if median and size > 1:
        values = ndimage.median_filter(values, size=(size, 1), mode="nearest")
    if gaussian:
        values = ndimage.gaussian_filter1d(
            values, gaussian / moments.step, axis=0, mode="nearest", truncate=4.0
        )
    return Moments(moments.start, moments.step, values)


def runs(curve: np.ndarray, *, high: float, low: float) -> list[tuple[int, int]]:
    """Stretches of a curve (T,) that stay at `low` or above and reach `high`: [begin, end).

    curve 0 .4 .6 .4 .1 .4 .1, high .5, low .3: (1, 4)
    high .4, low .4: (1, 4) (5, 6)
    """
    above = np.concatenate([[False], curve >= low, [False]])
    begins, ends = np.flatnonzero(above[1:] > above[:-1]), np.flatnonzero(above[1:] < above[:-1])
    return [
        (begin, end)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
        if curve[begin:end].max() >= high
    ]


def merge_gaps(stretches: Sequence[tuple[int, int]], *, gap: float) -> list[tuple[int, int]]:
    """Join neighbours with at most `gap` between them; stretches rise and do not overlap.

    stretches (0, 2) (3, 5) (9, 10), gap 1: (0, 5) (9, 10)
    """
    if not stretches:
        return []
    cuts = [i for i, (a, b) in enumerate(pairwise(stretches), 1) if b[0] - a[1] > gap + 1e-6]
    edges = [0, *cuts, len(stretches)]
    return [(stretches[i][0], stretches[j - 1][1]) for i, j in pairwise(edges)]


def suppress(events: Sequence[Event], *, iou: float) -> list[Event]:
    """Non-maximum suppression: drop what overlaps an event of a higher score by more than `iou`.

        spans 0..4 (.9), 1..4 (.8), 5..6 (.7), iou .5: 0..4 and 5..6 stay

    All events are of one class. The result falls in score; of equal scores the first counts more.
    """
    ranked = sorted(events, key=lambda event: -event.score)
    spans = np.array([event[:2] for event in ranked]).reshape(-1, 2)
    stays = np.ones(len(ranked), bool)
    for place, event in enumerate(ranked):
        if stays[place]:
            later = slice(place + 1, None)
            stays[later] &= temporal_iou(event.start, event.end, spans[later]) <= iou
    return [event for event, stay in zip(ranked, stays, strict=True) if stay]


def soften(events: Sequence[Event], *, sigma: float, least: float = 1e-3) -> list[Event]:
    """Soft-NMS: lower the scores of overlapping events (Bodla et al., ICCV 2017), not drop them.

    A score is multiplied by exp(-tIoU^2 / sigma) for each event that stands above it.

        spans 0..4 (.9), 0..4 (.8), 5..6 (.7), sigma .5: .9, .7, .8 exp(-2) = .108

    All events are of one class; those whose score falls below `least` are dropped.
    """
    spans = np.array([event[:2] for event in events]).reshape(-1, 2)
    scores, left, best = np.array([event.score for event in events]), len(events), []
    while left:
        top = int(scores.argmax())
        event = events[top]._replace(score=float(scores[top]))
        best.append(event)
        scores *= np.exp(-(temporal_iou(event.start, event.end, spans) ** 2) / sigma)
        scores[top] = 0  # taken
        scores[scores < least] = 0
        left = int(np.count_nonzero(scores))
    return best


def labels_at(
    events: Sequence[Event], moments: np.ndarray, class_names: Sequence[str]
) -> np.ndarray:
    """The class at each moment, (T,) seconds: int64 (T,), -1 where no event is.

    Where events overlap, the one with the highest score counts; an event has its start, not its
    end.
    """
    labels = np.full(len(moments), -1)
    order = np.argsort(moments)
    for event in sorted(events, key=lambda event: event.score):
        inside = slice(*np.searchsorted(moments[order], [event.start, event.end]))
        labels[order[inside]] = class_names.index(event.label)
    return labels
