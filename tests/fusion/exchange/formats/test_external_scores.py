from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion.exchange.formats.external_scores import stack_videos
from fusion.tables.score_file import four_axes
from twostream_base.errors import InputError

PATH = Path("scores.pkl")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((7, 5), (7, 1, 1, 5)), ((7, 3, 5), (7, 3, 1, 5)), ((7, 3, 2, 5), (7, 3, 2, 5))],
)
def test_missing_axes_are_segments_and_crops(
    shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert four_axes(np.zeros(shape)).shape == expected
    videos = [("v", scores) for scores in np.ones(shape)]
    assert stack_videos(videos, path=PATH, most=999).shape == expected


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ([1.0, 2.0], r"b has scores of shape \(2,\), those before it \(3,\)"),
        ("text", r"b has <U4 scores of shape \(\); expected numbers"),
        ([[1.0], [1.0, 2.0]], r"b has object scores"),
        (None, r"b has object scores"),
        (np.zeros((1, 1, 1, 3)), r"b has float64 scores of shape \(1, 1, 1, 3\)"),
    ],
)
def test_the_video_that_does_not_fit_is_named(second: object, message: str) -> None:
    with pytest.raises(InputError, match=f"^scores.pkl: {message}"):
        stack_videos([("a", [1.0, 2.0, 3.0]), ("b", second)], path=PATH, most=99)


def test_no_videos() -> None:
    with pytest.raises(InputError, match="scores.pkl: holds no videos"):
        stack_videos([], path=PATH, most=0)


def test_a_few_bytes_that_name_the_same_list_over_and_over() -> None:
    row = [0.0] * 1000
    with pytest.raises(InputError, match="b unpacks to more numbers than there are bytes"):
        stack_videos([("a", row), ("b", [[row] * 1000] * 1000)], path=PATH, most=50_000)
    with pytest.raises(InputError, match="a unpacks to .* more than 3 levels; refused"):
        stack_videos([("a", [[[row]]])], path=PATH, most=50_000)
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(InputError, match="refused"):
        stack_videos([("a", endless)], path=PATH, most=50_000)
