from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twostream.data.sampling import (
    SPREAD,
    centre_of_segments,
    evenly_spaced,
    num_positions,
    random_in_segments,
    snippet_indices,
    start_and_centre_of_segments,
)

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
