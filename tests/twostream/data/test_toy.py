from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from twostream.data.splits import read_ucf101
from twostream.data.toy import CLASSES, TINTS, make_clip, write_toy_lists


def test_lists_are_ucf101s(tmp_path: Path) -> None:
    write_toy_lists(tmp_path)
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
