from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twostream.data.protocols import (
    PROTOCOLS,
    SPREAD,
    View,
    centre_of_segments,
    evenly_spaced,
    num_positions,
    random_in_segments,
    snippet_indices,
    start_and_centre_of_segments,
)
from twostream.transforms.clips import Box

# Starts for a video of 100 frames (99 flow pairs, stacks of 10) and one of 12 frames (11 pairs).
EXPECTED = {
    "clips19": {
        (100, 1): [0, 5, 10, 15, 21, 26, 31, 36, 42, 47, 52, 57, 63, 68, 73, 78, 84, 89, 94],
        (99, 10): [0, 4, 9, 14, 18, 23, 28, 33, 37, 42, 47, 52, 56, 61, 66, 71, 75, 80, 85],
        (12, 1): [0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 6, 7, 8, 8, 9, 10, 10, 11],
        (11, 10): [0] * 10 + [1] * 9,
    },
    "segments3": {
        (100, 1): [16, 50, 83],
        (99, 10): [15, 45, 75],
        (12, 1): [2, 6, 10],
        (11, 10): [0, 1, 1],
    },
    "segments25": {
        (100, 1): list(range(2, 100, 4)),
        (99, 10): [1, 5, 9, 12, 16, 19, 23, 27, 30, 34, 37, 41, 45, 48, 52, 55, 59, 63, 66, 70,
                   73, 77, 81, 84, 88],
        (12, 1): [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11],
        (11, 10): [0] * 12 + [1] * 13,
    },
    "tsn25x10": "segments25",
    "efficient": {(100, 1): [50], (99, 10): [45], (12, 1): [6], (11, 10): [1]},
    "accurate": "segments25",
    "dense10x3": {
        (100, 1): [5, 15, 25, 35, 45, 55, 65, 75, 85, 95],
        (99, 10): [4, 13, 22, 31, 40, 49, 58, 67, 76, 85],
        (12, 1): [0, 1, 3, 4, 5, 6, 7, 9, 10, 11],
        (11, 10): [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
    },
    "dense10": "dense10x3",
    "twice3": {(100, 1): [0, 50], (99, 10): [0, 45], (12, 1): [0, 6], (11, 10): [0, 1]},
}  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOLS)
def test_exact_starts(name: str) -> None:
    protocol = PROTOCOLS[name]
    starts = EXPECTED[name]
    starts = EXPECTED[starts] if isinstance(starts, str) else starts
    for (length, snippet_length), expected in starts.items():
        positions = num_positions(length, snippet_length=snippet_length)
        assert protocol.starts(positions, protocol.num_snippets) == expected


def plain(*boxes: Box) -> list[View]:
    return [View(box) for box in boxes]


CENTRE = {
    (240, 320): plain(Box(15, 55, 210, 210)),
    (256, 340): plain(Box(16, 58, 224, 224)),
    (121, 161): plain(Box(7, 27, 106, 106)),
    (1, 1): plain(Box(0, 0, 1, 1)),
}
CORNERS = {
    (240, 320): [(0, 0), (0, 110), (30, 0), (30, 110), (15, 55)],
    (256, 340): [(0, 0), (0, 116), (32, 0), (32, 116), (16, 58)],
}
THREE = {
    (256, 340): plain(Box(0, 0, 256, 256), Box(0, 42, 256, 256), Box(0, 84, 256, 256)),
    (240, 320): plain(Box(0, 0, 240, 240), Box(0, 40, 240, 240), Box(0, 80, 240, 240)),
    (320, 240): plain(Box(0, 0, 240, 240), Box(40, 0, 240, 240), Box(80, 0, 240, 240)),
}
VIEWS = {
    "clips19": {(240, 320): plain(Box(0, 0, 240, 320)), (121, 161): plain(Box(0, 0, 121, 161))},
    "segments3": CENTRE,
    "segments25": CENTRE,
    "tsn25x10": {
        size: [
            View(Box(*corner, side, side), flip)
            for flip in (False, True)
            for corner in CORNERS[size]
        ]
        for size, side in (((240, 320), 210), ((256, 340), 224))
    },
    "efficient": CENTRE,
    "accurate": THREE,
    "dense10": CENTRE,
    "dense10x3": THREE,
    "twice3": THREE,
}
NUM_VIEWS = {"clips19": 19, "segments3": 3, "segments25": 25, "tsn25x10": 250, "efficient": 1,
             "accurate": 75, "dense10": 10, "dense10x3": 30,
             "twice3": 6}  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOLS)
def test_exact_views(name: str) -> None:
    protocol = PROTOCOLS[name]
    for size, expected in VIEWS[name].items():
        assert protocol.views(*size) == expected
    assert protocol.num_snippets * protocol.num_crops == NUM_VIEWS[name]
    assert protocol.side(224) == (256 if "crops of 256" in protocol.text else 224)


# Flow pairs of each snippet, for videos of 12 and of 6 frames: 11 pairs, and 5, of which the last
# repeats.
STACKS = {"segments3": ([0, 1, 1], [0, 0, 0]), "efficient": ([1], [0]), "twice3": ([0, 1], [0, 0])}


@pytest.mark.parametrize("name", STACKS)
def test_exact_flow_pairs_of_short_videos(name: str) -> None:
    for length, starts in zip((11, 5), STACKS[name], strict=True):
        positions = num_positions(length, snippet_length=10)
        taken = PROTOCOLS[name].starts(positions, PROTOCOLS[name].num_snippets)
        stacks = {0: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 1: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}
        if length == 5:
            stacks = {0: [0, 1, 2, 3, 4, 4, 4, 4, 4, 4]}
        expected = [stacks[start] for start in starts]
        assert snippet_indices(taken, snippet_length=10, length=length) == expected


def test_the_card_says_all_of_a_protocol() -> None:
    assert PROTOCOLS["tsn25x10"].metadata(size=224) == {
        "text": "the centre of each of 25 segments, ten crops: 250 views",
        "snippets": 25, "starts": "centre_of_segments",
        "crops": 10, "views": "ten_crop", "scale": 1.0, "side": 224,
    }  # fmt: skip


SAMPLERS = (centre_of_segments, evenly_spaced)


@pytest.mark.parametrize(
    ("length", "snippet_length", "expected"),
    [(100, 1, 100), (99, 10, 90), (10, 10, 1), (9, 10, 1), (1, 10, 1)],
)
def test_num_positions(length: int, snippet_length: int, expected: int) -> None:
    assert num_positions(length, snippet_length=snippet_length) == expected


@pytest.mark.parametrize(
    ("length", "interval", "starts", "positions", "expected"),
    [
        (9, 2, [0, 4], 5, [[0, 2, 4], [4, 6, 8]]),
        (4, 2, [0], 1, [[0, 2, 3]]),  # past the end the last frame repeats
        (9, SPREAD, [0, 2], 3, [[0, 3, 6], [2, 5, 8]]),
        (10, SPREAD, [0, 2], 3, [[0, 3, 6], [2, 5, 8]]),
        (2, SPREAD, [0], 1, [[0, 0, 1]]),
    ],
)
def test_intervals(
    length: int, interval: int, starts: list[int], positions: int, expected: list[list[int]]
) -> None:
    assert num_positions(length, snippet_length=3, interval=interval) == positions
    assert snippet_indices(starts, snippet_length=3, length=length, interval=interval) == expected


@given(length=st.integers(1, 400), snippet_length=st.integers(1, 40), interval=st.integers(0, 9))
def test_every_snippet_lies_in_its_video(length: int, snippet_length: int, interval: int) -> None:
    sampling = {"snippet_length": snippet_length, "interval": interval}
    positions = num_positions(length, **sampling)
    starts = [0, positions // 2, positions - 1]
    for snippet in snippet_indices(starts, length=length, **sampling):
        assert len(snippet) == snippet_length
        assert snippet == sorted(snippet)
        assert 0 <= snippet[0] <= snippet[-1] < length


def test_num_positions_of_nothing() -> None:
    with pytest.raises(ValueError, match=r"length \(0\) must be at least 1"):
        num_positions(0, snippet_length=1)


@pytest.mark.parametrize(
    ("positions", "count", "expected"),
    [
        (9, 3, [1, 4, 7]),
        (100, 3, [16, 50, 83]),
        (90, 3, [15, 45, 75]),
        (3, 3, [0, 1, 2]),
        (1, 3, [0, 0, 0]),
        (2, 3, [0, 1, 1]),
    ],
)
def test_centre_of_segments(positions: int, count: int, expected: list[int]) -> None:
    assert centre_of_segments(positions, count) == expected


@pytest.mark.parametrize(
    ("positions", "count", "expected"),
    [
        (10, 5, [0, 2, 4, 6, 8]),
        (100, 19, [0, 5, 10, 15, 21, 26, 31, 36, 42, 47, 52, 57, 63, 68, 73, 78, 84, 89, 94]),
        (1, 3, [0, 0, 0]),
    ],
)
def test_evenly_spaced(positions: int, count: int, expected: list[int]) -> None:
    assert evenly_spaced(positions, count) == expected


def test_start_and_centre_of_segments() -> None:
    assert start_and_centre_of_segments(9, 2) == [0, 4]
    assert start_and_centre_of_segments(16, 4) == [0, 4, 8, 12]


def test_random_in_segments_reaches_every_start_of_its_segment_only() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([random_in_segments(9, 3, rng=rng) for _ in range(300)])
    assert [sorted(set(column)) for column in drawn.T] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_random_in_segments_repeats_with_its_seed() -> None:
    draws = [random_in_segments(50, 3, rng=np.random.default_rng(7)) for _ in range(2)]
    assert draws[0] == draws[1]


@given(positions=st.integers(1, 300), count=st.integers(1, 30), seed=st.integers(0, 99))
def test_every_sampler_stays_inside_and_never_goes_back(
    positions: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    samples = [sampler(positions, count) for sampler in SAMPLERS]
    for starts in [*samples, random_in_segments(positions, count, rng=rng)]:
        assert len(starts) == count
        assert starts == sorted(starts)
        assert 0 <= starts[0] <= starts[-1] < positions


def test_snippet_indices_repeat_the_last_frame() -> None:
    indices = snippet_indices([0, 3], snippet_length=3, length=5)
    assert indices == [[0, 1, 2], [3, 4, 4]]
