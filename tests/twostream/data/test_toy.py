from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from twostream.data.splits import read_timed, read_ucf101
from twostream.data.toy import (
    CLASSES,
    NUM_GROUPS,
    TINTS,
    WHERE_CLASSES,
    film_shots,
    make_clip,
    toy_films,
    where_clip,
    where_films,
    write_long_lists,
    write_toy_lists,
)


def test_lists_are_ucf101s(tmp_path: Path) -> None:
    write_toy_lists(tmp_path, CLASSES, NUM_GROUPS)
    tested = []
    for split in (1, 2, 3):
        lists = read_ucf101(tmp_path, split=split)
        assert (len(lists.class_names), len(lists.train), len(lists.test)) == (9, 216, 108)
        assert not {r.group for r in lists.train} & {r.group for r in lists.test}
        tested += [record.name for record in lists.test]
    assert len(set(tested)) == 324


def test_the_colour_leaves_no_trace_in_grey() -> None:
    """The same texture and motion in three colours: what flow looks at is the same up to noise."""
    clips = [make_clip(f"{tint}Vertical", rng=np.random.default_rng(3)) for tint in TINTS]
    grey = [np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in clip]) for clip in clips]
    for other in grey[1:]:
        assert abs(grey[0].astype(int) - other).mean() < 2.5
        assert abs(grey[0].mean() - other.mean()) < 0.2


@pytest.mark.parametrize("motion", ["Horizontal", "Vertical", "Rotation"])
def test_the_motion_is_the_named_one(motion: str) -> None:
    """Measured flow: its mean direction is the axis; under rotation it has curl and no mean."""
    clip = make_clip(f"Green{motion}", rng=np.random.default_rng(4))
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.mean([dis.calc(a, b, None) for a, b in zip(grey, grey[1:], strict=False)], axis=0)
    u, v = abs(flow.mean(axis=(0, 1)))
    curl = abs(np.gradient(flow[..., 1], axis=1).mean() - np.gradient(flow[..., 0], axis=0).mean())
    if motion == "Rotation":
        assert curl > 0.02
        assert max(u, v) < 0.3
    else:
        along, across = (u, v) if motion == "Horizontal" else (v, u)
        assert along > 0.6
        assert across < 0.3
        assert curl < 0.01


def test_clips_repeat_with_their_seed_and_differ_without() -> None:
    a, b, c = (make_clip(CLASSES[0], rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert a.shape == (24, 96, 96, 3)
    assert (a == b).all()
    assert (a != c).any()
    for films in (toy_films(), where_films()):
        make = next(iter(films.values()))
        assert (make() == make()).all()


def test_where_only_the_joining_of_places_tells() -> None:
    """Red and blue are in every frame, one in each half, and flow is where the named one is."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    sides = []
    for seed in range(6):
        colour = WHERE_CLASSES[seed % 2]
        clip = where_clip(colour, rng=np.random.default_rng(seed)).astype(np.float32)
        redness = clip[..., 0] - clip[..., 2]
        for sign in (1, -1):
            assert (sign * redness > 25).sum(axis=(1, 2)).min() > 300
        left, right = redness[..., :48].mean(), redness[..., 48:].mean()
        assert left * right < 0
        moving_left = (left > right) == (colour == "Red")
        grey = [cv2.cvtColor(frame.astype(np.uint8), cv2.COLOR_RGB2GRAY) for frame in clip[:8]]
        flow = [abs(dis.calc(a, b, None)).mean(axis=(0, 2)) for a, b in pairwise(grey)]
        halves = np.mean(flow, axis=0).reshape(2, 48).mean(axis=1)
        assert halves[0 if moving_left else 1] > 1.5 * halves[1 if moving_left else 0]
        sides.append(moving_left)
    assert len(set(sides)) == 2


def test_long_films_show_every_action_once_and_two_pauses(tmp_path: Path) -> None:
    write_long_lists(tmp_path)
    tested: list[str] = []
    for split in (1, 2, 3):
        lists = read_timed(tmp_path, split=split)
        assert lists.class_names == (*CLASSES, "background")
        assert (len(lists.train), len(lists.test)) == (24 * 11, 12 * 11)
        assert not {r.group for r in lists.train} & {r.group for r in lists.test}
        tested += sorted({record.film for record in lists.test})
    assert sorted(tested) == [f"film{number:02d}" for number in range(1, 37)]
    shots = film_shots(7)
    assert sorted(label for _, label, _ in shots) == sorted([*CLASSES, "background", "background"])
    pauses = [name for name, label, _ in shots if label == "background"]
    assert [any(name.startswith("Grey") for name in pauses)] == [True]
    assert [any(name.endswith("Still") for name in pauses)] == [True]
    assert {shot[2] for shot in shots} <= set(range(40, 71))
    first = [record for record in read_timed(tmp_path, split=1).records if record.film == "film07"]
    ends = np.cumsum([frames for *_, frames in shots]) / 25
    assert [record.end for record in first] == pytest.approx(ends)


def test_a_pause_is_grey_or_stands_still() -> None:
    still, grey = (
        make_clip(name, rng=np.random.default_rng(3), num_frames=8).astype(float)
        for name in ("RedStill", "GreyVertical")
    )
    assert still[..., 0].mean() > 2 * still[..., 1].mean()
    assert np.ptp(grey.mean(axis=(0, 1, 2))) < 1
    changes = [np.abs(np.diff(clip.mean(axis=-1), axis=0)).mean() for clip in (still, grey)]
    assert changes[0] < changes[1] / 2
