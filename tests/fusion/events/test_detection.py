"""Events out of the scores of windows: worked examples, whole expected lists."""

from __future__ import annotations

import numpy as np
import pytest

from fusion.events.detection import (
    DetectionOptions,
    background_class,
    detect_events,
    labels_at,
    merge_gaps,
    moments_of_windows,
    runs,
    smooth,
    soften,
    suppress,
)
from fusion.events.event import Event, temporal_iou
from twostream_base.errors import InputError

NAMES = ["background", "jump", "run"]


def test_overlap_of_spans() -> None:
    spans = np.array([[2.0, 6], [4, 5], [0, 4], [1, 3]])
    assert temporal_iou(0, 4, spans).tolist() == [2 / 6, 0, 1, 0.5]
    assert temporal_iou(2, 2, np.array([[2.0, 2]])).tolist() == [0]


def test_moments_are_means_of_the_windows_that_cover_them() -> None:
    times = np.array([[0, 4], [2, 6]])
    moments = moments_of_windows(times, np.array([[1.0], [0.0]]), step=1)
    assert moments.probabilities.ravel().tolist() == [1, 1, 0.75, 0.25, 0, 0]
    assert (moments.start, moments.step, moments.span(1, 3)) == (0, 1, (1, 3))


def test_windows_side_by_side_keep_their_own_and_gaps_have_none() -> None:
    times = np.array([[4, 6], [0, 2], [2, 3]])  # in any order
    moments = moments_of_windows(times, np.array([[0.3], [0.1], [0.2]]), step=0.5)
    expected = [0.1] * 4 + [0.2] * 2 + [0] * 2 + [0.3] * 4
    assert moments.probabilities.ravel() == pytest.approx(expected)


def test_the_step_is_a_quarter_of_the_stride() -> None:
    times = np.arange(10)[:, None] * 0.5 + np.array([1, 3])
    moments = moments_of_windows(times, np.ones((10, 1)))
    assert (moments.start, moments.step, len(moments.probabilities)) == (1, 0.125, 52)
    assert (moments.probabilities == 1).all()


def test_smoothing() -> None:
    def values(curve: list[float], **options: float) -> list[float]:
        times = np.arange(len(curve))[:, None] + np.array([0, 1])
        moments = moments_of_windows(times, np.array(curve)[:, None], step=1)
        return smooth(moments, **options).probabilities.ravel().round(4).tolist()

    assert values([0, 1, 0, 1, 1], median=3) == [0, 0, 1, 1, 1]
    assert values([0, 1, 0, 1, 1], median=1) == [0, 1, 0, 1, 1]
    bell = np.exp(-0.5 * np.arange(-4, 5) ** 2.0)
    impulse = [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert values(impulse, gaussian=1) == (bell / bell.sum()).round(4).tolist()


def test_hysteresis() -> None:
    curve = np.array([0, 0.4, 0.6, 0.4, 0.1, 0.4, 0.1])
    assert runs(curve, high=0.5, low=0.3) == [(1, 4)]
    assert runs(curve, high=0.4, low=0.4) == [(1, 4), (5, 6)]
    assert runs(curve, high=0.7, low=0.1) == []
    assert runs(np.ones(3), high=1, low=1) == [(0, 3)]


def test_neighbours_merge() -> None:
    stretches = [(0, 2), (3, 5), (9, 10), (10, 11)]
    assert merge_gaps(stretches, gap=0) == [(0, 2), (3, 5), (9, 11)]
    assert merge_gaps(stretches, gap=1) == [(0, 5), (9, 11)]
    assert merge_gaps(stretches, gap=4) == [(0, 11)]
    assert merge_gaps([], gap=4) == []


def test_suppression() -> None:
    events = [Event(5, 6, "a", 0.7), Event(1, 4, "a", 0.8), Event(0, 4, "a", 0.9)]
    assert suppress(events, iou=0.5) == [Event(0, 4, "a", 0.9), Event(5, 6, "a", 0.7)]
    assert suppress(events, iou=0.75) == events[::-1]
    same = [Event(0, 4, "a", 0.9), Event(0, 4, "a", 0.8), Event(5, 6, "a", 0.7)]
    softened = soften(same, sigma=0.5)
    assert [e[:2] for e in softened] == [(0, 4), (5, 6), (0, 4)]
    assert [e.score for e in softened] == pytest.approx([0.9, 0.7, 0.8 * np.exp(-2)])
    assert soften(same, sigma=0.01) == [same[0], same[2]]


@pytest.mark.parametrize("seed", range(3))
def test_suppression_against_a_loop(seed: int) -> None:
    """Each event beside each that stands above it, one by one."""
    rng = np.random.default_rng(seed)
    starts, lengths, scores = rng.random((3, 40))
    events = [
        Event(s, s + length / 2, "a", score)
        for s, length, score in zip(starts, lengths, scores, strict=True)
    ]
    left, kept, softened = sorted(events, key=lambda e: -e.score), [], []
    while left:
        top = left.pop(0)
        kept.append(top)
        left = [e for e in left if temporal_iou(*top[:2], np.array([e[:2]]))[0] <= 0.3]
    assert suppress(events, iou=0.3) == kept
    left = events
    while left:
        top = max(left, key=lambda e: e.score)
        softened.append(top)
        lowered = [
            e._replace(
                score=e.score * np.exp(-(temporal_iou(*top[:2], np.array([e[:2]]))[0] ** 2) / 0.1)
            )
            for e in left
            if e != top
        ]
        left = [e for e in lowered if e.score >= 1e-3]
    result = soften(events, sigma=0.1)
    assert [e[:2] for e in result] == [e[:2] for e in softened]
    assert [e.score for e in result] == pytest.approx([e.score for e in softened])


def test_so_many_values_are_refused() -> None:
    with pytest.raises(InputError, match="1,000 classes are 4,000,000,000 values"):
        moments_of_windows(np.array([[0.0, 4000.0]]), np.zeros((1, 1000)), step=0.001)


def windows(*labels: int, high: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Windows of 2 s every second, one class of three likely in each."""
    rest = (1 - high) / 2
    scores = np.full((len(labels), 3), rest)
    scores[np.arange(len(labels)), labels] = high
    return np.arange(len(labels))[:, None] + np.array([0.0, 2.0]), scores


def spans(events: list[Event]) -> list[tuple[float, float, str, float]]:
    return [(e.start, e.end, e.label, round(e.score, 3)) for e in events]


def test_events_of_a_film() -> None:
    times, scores = windows(0, 0, 1, 1, 0, 0, 2, 2, 2)
    wide = DetectionOptions(thresholds=(0.5,), hysteresis=0.6)
    assert spans(detect_events(times, scores, NAMES, wide)) == [
        (2.25, 4.75, "jump", round(6.425 / 10, 3)),
        (6.25, 10, "run", round(11.2125 / 15, 3)),
    ]
    half = DetectionOptions(thresholds=(0.5,))
    assert spans(detect_events(times, scores, NAMES, half)) == [
        (2.5, 4.5, "jump", round(5.7 / 8, 3)),
        (6.5, 10, "run", round(10.85 / 14, 3)),
    ]


def test_the_background_needs_no_threshold() -> None:
    """Where a network tells it from the classes, what is likelier than it is an event."""
    times, scores = windows(0, 0, 1, 1, 0, 0, high=0.4)
    (event,) = detect_events(times, scores, NAMES)
    assert event[:3] == (2.5, 4.5, "jump")
    assert event.score == pytest.approx(0.3875)
    assert detect_events(times, scores, NAMES, DetectionOptions(thresholds=(0.5,))) == []
    assert detect_events(times, scores, ["sit", "jump", "run"]) == []


def test_each_option_has_its_effect() -> None:
    times, scores = windows(0, 1, 1, 0, 0, 1, 1, 1, 0, 2, 0)

    def found(**options: object) -> list[tuple[float, float, str]]:
        result = detect_events(times, scores, NAMES, DetectionOptions(hysteresis=1, **options))  # type: ignore[arg-type]
        return [event[:3] for event in result]

    jumps = [(1.5, 3.5, "jump"), (5.5, 8.5, "jump")]
    assert found(thresholds=(0.5,)) == [*jumps, (9.5, 10.5, "run")]
    assert found() == found(argmax=True)
    assert found(argmax=True) == [*jumps, (9.5, 10.5, "run")]
    assert found(min_length=1.5) == jumps
    assert found(min_length=2.5) == jumps[1:]
    assert found(max_gap=2) == [(1.5, 8.5, "jump"), (9.5, 10.5, "run")]
    assert found(thresholds=(0.9,)) == []
    assert found(median=3, thresholds=(0.5,))[-1] == jumps[1]
    assert found(background="run")[0] == (0, 1.5, "background")
    both = found(thresholds=(0.3, 0.7), nms=1)
    assert len([e for e in both if e[2] == "jump"]) == 4
    assert len([e for e in found(thresholds=(0.3, 0.7), nms=0.3) if e[2] == "jump"]) == 2


def test_windows_far_apart_are_no_less_seen() -> None:
    """Windows of 1 s every 10 s: each is an event of its own length."""
    times = 10.0 * np.arange(3)[:, None] + np.array([0.0, 1.0])
    events = detect_events(times, np.full((3, 1), 0.9), ["jump"])
    assert [event[:2] for event in events] == [(0, 1), (10, 11), (20, 21)]


def test_background_is_known_by_its_name() -> None:
    assert background_class(["Background", "a"]) == "Background"
    assert background_class(["a", "b"]) is None
    assert background_class(["a", "b"], "b") == "b"
    with pytest.raises(InputError, match=r"'c'.*2 classes.*a, b"):
        background_class(["a", "b"], "c")


def test_labels_at_moments() -> None:
    events = [Event(0, 2, "jump", 0.9), Event(1, 3, "run", 0.5)]
    moments = np.array([2.0, 0.0, 1.0, 3.0, 2.9])
    assert labels_at(events, moments, NAMES).tolist() == [2, 1, 1, -1, 2]


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"step": 0.0}, "step.*0"),
        ({"step": 1e-7}, "10,000,000"),
        ({"median": -1.0}, "median.*-1"),
        ({"gaussian": float("nan")}, "gaussian.*nan"),
        ({"max_gap": float("inf")}, "max-gap.*inf"),
        ({"thresholds": (0.5, 1.5)}, "threshold.*1.5"),
        ({"thresholds": ()}, "threshold"),
        ({"nms": 0.0}, "nms.*0"),
        ({"hysteresis": 2.0}, "hysteresis.*2"),
    ],
)
def test_options_out_of_their_range(options: dict[str, object], facts: str) -> None:
    times, scores = windows(0, 1)
    with pytest.raises(InputError, match=facts):
        detect_events(times, scores, NAMES, DetectionOptions(**options))  # type: ignore[arg-type]


def test_times_that_are_none() -> None:
    for times in ([[0.0, 0.0]], [[0.0, float("nan")]], [[0.0, 1.0], [1.0, 2.0]]):
        with pytest.raises(InputError):
            moments_of_windows(np.array(times), np.ones((1, 2)))
