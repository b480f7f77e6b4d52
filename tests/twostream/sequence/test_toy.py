from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twostream.sequence import toy
from twostream.sequence.lists import toy as read_toy


def test_render_video() -> None:
    """The brighter disc moves from right to left, then grows in place."""
    frames = toy.render_video(["LEFT", "GROW"], rng=np.random.default_rng(0))
    assert 12 <= len(frames) <= 28
    assert frames.shape[1:] == (36, 36, 3)
    bright = frames.mean(axis=3) > 160
    columns = [np.median(np.nonzero(picture)[1]) for picture in bright]
    assert columns[0] > 22
    assert min(columns[5:14]) < 14
    assert bright[-1].sum() > 2 * bright[-6:].sum(axis=(1, 2)).min()


def test_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "COUNTS", {"train": 2, "val": 1, "test": 1})
    lists = read_toy(tmp_path, tmp_path / "videos")
    first = lists["train"][0].frames.read_bytes()
    lists["train"][0].frames.unlink()
    assert read_toy(tmp_path, tmp_path / "videos") == lists
    assert lists["train"][0].frames.read_bytes() == first
    assert {gloss for record in lists["train"] for gloss in record.glosses} <= set(toy.GESTURES)
