"""Metrics of events against a slow reference, by hand, and when films count more than once.

On 200 random cases each, the metrics were compared with the evaluation codes of ActivityNet,
ActionFormer and MS-TCN; the largest difference was 2e-16.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from fusion.events import metrics
from fusion.events.event import Event
from fusion.events.metrics import (
    average_precision,
    class_precisions,
    compare_systems,
    edit_score,
    event_metrics,
    film_frames,
    judge_events,
    match_class,
    metric_values,
    segment_counts,
    segments_of_frames,
    without_duplicates,
)
from fusion.events.truth import Film, Truth
from twostream_base.errors import InputError

Films = list[list[Event]]


def random_films(rng: np.random.Generator, films: int = 4) -> tuple[Films, Films]:
    """Detections and truth of some films."""
    truth: Films = [[] for _ in range(films)]
    found: Films = [[] for _ in range(films)]
    for true, detected in zip(truth, found, strict=True):
        for label in rng.choice(list("abc"), size=rng.integers(1, 6)).tolist():
            start, length = rng.uniform(0, 40), rng.uniform(1, 12)
            true.append(Event(start, start + length, label))
            for _ in range(rng.integers(0, 3)):
                moved = start + rng.normal(0, 1), start + length + rng.normal(0, 1) + 1
                other = label if rng.random() < 0.8 else "d"
                detected.append(Event(min(moved), max(moved), other, rng.random()))
    return found, truth


def test_frames_go_on_to_the_last_known_moment() -> None:
    run, nothing = Event(0, 2, "run"), Event(2, 8, "background")
    assert len(film_frames(Film((run,), background=(nothing,)), 4.0, rate=2)) == 16
    assert len(film_frames(Film((run,)), 4.0, rate=2)) == 8
    assert len(film_frames(Film((run,), 3, background=(nothing,)), 4.0, rate=2)) == 6
    assert len(film_frames(Film(()), 0.0, rate=2)) == 1
    with pytest.raises(InputError, match=r"9\.9e\+06 s has 247,500,000 frames .* 10,000,000"):
        film_frames(Film((), 9.9e6), 0.0, rate=25)


def mean_average_precision(
    found: Films, truth: Films, thresholds: Sequence[float] = metrics.ACTIVITYNET
) -> np.ndarray:
    """mAP at each tIoU, 0..1: the mean over the classes that the truth has."""
    labels = sorted({event.label for events in truth for event in events})
    once = np.ones((1, len(truth)))
    matches = [match_class(found, truth, label, thresholds) for label in labels]
    return np.mean([class_precisions(of_class, once)[0] for of_class in matches], axis=0)


def slow_map(found: Films, truth: Films, threshold: float) -> float:
    """mAP the plain way: one class, one detection after another, the area under the envelope."""
    precisions = []
    for label in {e.label for events in truth for e in events}:
        left = {(f, i) for f, es in enumerate(truth) for i, e in enumerate(es) if e.label == label}
        total, right, curve = len(left), 0, []
        ranked = [(e.score, f, e) for f, es in enumerate(found) for e in es if e.label == label]
        for rank, (_, film, event) in enumerate(sorted(ranked, reverse=True), 1):
            best, place = 0.0, None
            for f, i in left:
                other = truth[f][i]
                shared = min(event.end, other.end) - max(event.start, other.start)
                union = max(event.end, other.end) - min(event.start, other.start)
                if f == film and shared > 0 and shared / union > best:
                    best, place = shared / union, (f, i)
            if place and best >= threshold:
                left.remove(place)
                right += 1
            curve.append((right / total, right / rank))
        area, last = 0.0, 0.0
        for number, (recall, _) in enumerate(curve):
            area += (recall - last) * max(p for _, p in curve[number:])
            last = recall
        precisions.append(area)
    return float(np.mean(precisions))


def test_map_equals_the_slow_reference() -> None:
    for seed in range(30):
        found, truth = random_films(np.random.default_rng(seed))
        expected = [slow_map(found, truth, threshold) for threshold in metrics.THUMOS]
        assert mean_average_precision(found, truth, metrics.THUMOS) == pytest.approx(expected)


def test_average_precision_by_hand() -> None:
    hits = np.array([True, False, True])
    weights = np.array([[1, 1, 1], [2, 1, 0], [0, 0, 0]])
    result = average_precision(hits, weights, np.array([2, 2, 0]))
    assert result.tolist() == pytest.approx([0.5 + 0.5 * 2 / 3, 1, np.nan], nan_ok=True)


def test_an_event_is_found_once() -> None:
    truth = [[Event(0, 10, "a"), Event(20, 30, "a")]]
    found = [[Event(0, 10, "a", 0.9), Event(0, 9, "a", 0.8), Event(20, 24, "a", 0.7)]]
    at = dict(zip(metrics.ACTIVITYNET, mean_average_precision(found, truth), strict=True))
    assert at[0.5] == 0.5  # the second finds nothing new, the third overlaps by 0.4
    assert mean_average_precision(found, truth, [0.4])[0] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert mean_average_precision([[]], truth).tolist() == [0] * 10


def test_duplicates_of_the_truth() -> None:
    events = [Event(0, 1, "a"), Event(0.0005, 1, "a"), Event(0, 1, "b"), Event(5, 5.0001, "a")]
    assert without_duplicates(events) == [events[0], events[2]]


def test_segments_edit_and_f1_by_hand() -> None:
    true = np.array([-1, 0, 0, 0, 0, 1, 1, 1, 1, -1])
    predicted = np.array([-1, 0, 0, 1, 0, 1, 1, 1, 1, 2])
    assert segments_of_frames(true) == [(0, 1, 5), (1, 5, 9)]
    assert segments_of_frames(np.array([], int)) == []
    assert edit_score(predicted, true) == 1 - 3 / 5
    assert edit_score(true, true) == edit_score(np.array([-1]), np.array([-1])) == 1
    assert edit_score(np.array([-1, -1]), true[:2]) == 0
    assert segment_counts(predicted, true, 0.5) == (2, 3, 0)
    assert segment_counts(predicted, true, 0.6) == (1, 4, 1)
    assert segment_counts(predicted, np.full(10, -1), 0.1) == (0, 5, 0)


def truth_of(events: Films, duration: float | None = 50) -> Truth:
    return Truth({f"film{i}": Film(tuple(sorted(e)), duration) for i, e in enumerate(events)})


def named(events: Films) -> dict[str, list[Event]]:
    return {f"film{i}": e for i, e in enumerate(events)}


def test_films_that_count_twice_are_films_that_are_there_twice() -> None:
    found, truth = random_films(np.random.default_rng(3))
    judged = judge_events(named(found), truth_of(truth))
    twice = [0, 2, 2]
    once = judge_events(named([found[i] for i in twice]), truth_of([truth[i] for i in twice]))
    weighted = metric_values(judged, np.array([[1.0, 0, 2, 0]]))
    for name, value in metric_values(once, np.ones((1, 3))).items():
        assert weighted[name] == pytest.approx(value), name


def test_frames_that_are_right() -> None:
    truth = truth_of([[Event(0, 4, "a"), Event(6, 8, "b")]], duration=10)
    found = named([[Event(0, 5, "a", 0.9), Event(6, 8, "b", 0.2)]])
    values = metric_values(judge_events(found, truth), np.ones((1, 1)))
    shown = {name: round(float(v[0]), 4) for name, v in values.items() if "mAP" not in name}
    assert shown == {
        "frame accuracy": 0.9, "edit score": 1, "F1@10": 1, "F1@25": 1, "F1@50": 1,
    }  # fmt: skip
    overlapping = truth_of([[Event(0, 4, "a"), Event(3, 8, "b")]])
    assert judge_events(found, overlapping).frames is None


def test_a_film_of_unknown_length_ends_with_its_scores() -> None:
    truth = truth_of([[Event(0, 4, "a")]], duration=None)
    judged = judge_events({}, truth, ends={"film0": 8})
    assert judged.frames is not None
    assert judged.frames[0, :2].tolist() == [100, 200]


def test_intervals_and_percent() -> None:
    found, truth = random_films(np.random.default_rng(1), films=8)
    judged = judge_events(named(found), truth_of(truth))
    result = event_metrics(judged)
    assert list(result)[:2] == ["ActivityNet mAP", "ActivityNet mAP@0.50"]
    low, high = result["THUMOS14 mAP"]["interval"]
    assert 0 <= low < result["THUMOS14 mAP"]["percent"] < high <= 100
    one = judge_events(named(found[:1]), truth_of(truth[:1]))
    assert event_metrics(one)["THUMOS14 mAP"]["interval"] is None


def test_one_film_with_all_events_tells_nothing_of_others() -> None:
    """Left out, it leaves nothing to find: no value of 0 then, which gave the interval 0 to 100."""
    truth = [[Event(0, 9, "a"), Event(20, 30, "b")], [], []]
    judged = judge_events(named([truth[0][:1], [], []]), truth_of(truth))
    result = event_metrics(judged)
    assert {name: value["percent"] for name, value in result.items() if "@" in name} == {
        name: 50.0 if "mAP" in name else pytest.approx(200 / 3, abs=1e-4)
        for name in result
        if "@" in name
    }
    without = {name for name, value in result.items() if value["interval"] is None}
    assert without == {name for name in result if "mAP" in name or "F1" in name}
    nothing = judge_events({}, truth_of(truth))
    rows = compare_systems(judged, nothing, rng=np.random.default_rng(0))
    assert {row["metric"]: (row["difference"], row["interval"], row["p"]) for row in rows[:2]} == {
        "ActivityNet mAP": (50, None, 1), "ActivityNet mAP@0.50": (50, None, 1),
    }  # fmt: skip
    short = [[Event(0, 1e-4, "a")], [Event(5, 5.0005, "a")]]  # nothing that THUMOS14 counts
    same = judge_events(named(short), truth_of(short))
    assert event_metrics(same)["THUMOS14 mAP"] == {"percent": 0, "interval": None}
    (row,) = (
        row
        for row in compare_systems(same, same, rng=np.random.default_rng(0))
        if row["metric"] == "THUMOS14 mAP"
    )
    assert (row["difference"], row["interval"], row["p"]) == (0, None, 1)


def test_two_systems_are_compared_film_by_film() -> None:
    _, truth = random_films(np.random.default_rng(2), films=6)
    perfect = judge_events(named(truth), truth_of(truth))
    nothing = judge_events({}, truth_of(truth))
    rows = {r["metric"]: r for r in compare_systems(perfect, nothing, rng=np.random.default_rng(0))}
    assert rows["ActivityNet mAP"]["difference"] == 100
    low, high = rows["ActivityNet mAP"]["interval"]  # six films that are alike are not all films
    count = 6 * (1.96 / 2.571) ** 2
    assert low == pytest.approx(100 * count / (count + 1.96**2), abs=0.1)
    assert high == 100
    assert rows["ActivityNet mAP"]["p"] == 2 / 2**6
    assert rows["ActivityNet mAP"]["p_holm"] > 2 / 2**6
    same = compare_systems(perfect, perfect, rng=np.random.default_rng(0))
    assert {(row["difference"], row["interval"], row["p"]) for row in same} == {(0, None, 1)}
    back = compare_systems(nothing, perfect, rng=np.random.default_rng(0))
    assert back[0]["difference"] == -100
