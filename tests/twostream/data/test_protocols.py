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
    equal_whole_steps,
    find_protocol,
    first_to_last,
    first_to_last_truncated,
    num_positions,
    protocol_in_file_name,
    random_in_segments,
    random_snippets,
    snippet_indices,
    start_and_centre_of_segments,
)
from twostream.models import network_protocol
from twostream.transforms.clips import Box
from twostream_base.errors import InputError

# Starts for a video of 100 frames (99 flow pairs, stacks of 10) and one of 12 frames (11 pairs).
EXPECTED = {
    "clips19": {
        (100, 1): list(range(0, 95, 5)),
        (99, 10): list(range(0, 76, 4)),
        (291, 10): list(range(0, 253, 14)),
        (12, 1): [0] * 19,
        (11, 10): [0] * 19,
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
    "dense10x3": {
        (100, 1): [0, 11, 22, 33, 44, 55, 66, 77, 88, 99],
        (99, 10): [0, 10, 20, 30, 40, 49, 59, 69, 79, 89],
        (12, 1): [0, 1, 2, 4, 5, 6, 7, 9, 10, 11],
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
        assert protocol.snippet_starts(length, snippet_length=snippet_length) == expected


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
    "dense10": CENTRE,
    "dense10x3": THREE,
    "twice3": THREE,
}
NUM_VIEWS = {"clips19": 19, "segments3": 3, "segments25": 25, "tsn25x10": 250,
             "dense10": 10, "dense10x3": 30, "twice3": 6}  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOLS)
def test_exact_views(name: str) -> None:
    protocol = PROTOCOLS[name]
    for size, expected in VIEWS[name].items():
        assert protocol.views(*size) == expected
    assert protocol.num_snippets * protocol.num_crops == NUM_VIEWS[name]
    assert protocol.side(224) == (256 if "crops of 256" in protocol.text else 224)


# Flow pairs of each snippet, for videos of 12 and of 6 frames: 11 pairs, and 5, of which the last
# repeats.
STACKS = {"segments3": ([0, 1, 1], [0, 0, 0]), "segments:1": ([1], [0]), "twice3": ([0, 1], [0, 0])}


@pytest.mark.parametrize("name", STACKS)
def test_exact_flow_pairs_of_short_videos(name: str) -> None:
    for length, starts in zip((11, 5), STACKS[name], strict=True):
        taken = find_protocol(name).snippet_starts(length, snippet_length=10)
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


# What codes of the field take of a video of 300 frames: starts of clips of 32 frames, every second
# one (mmaction2's SampleFrames of both versions), and of 8 frames, every eighth (the temporal shift
# module's dense sampling); frames of TSN; stacks of ten of 291 pairs; the third part alone.
RULES_OF_OTHERS = [
    ("dense:1", 300, (32, 2), [118]),
    ("dense:10", 300, (32, 2), [0, 26, 53, 79, 105, 132, 158, 184, 211, 237]),
    ("dense:10,rule=mmaction2-0.x", 300, (32, 2),
     [11, 35, 59, 82, 106, 130, 154, 177, 201, 225]),
    ("dense:1,rule=mmaction2-0.x", 300, (32, 2), [118]),
    ("dense:10,rule=temporal-shift-module", 300, (8, 8),
     [0, 26, 52, 78, 104, 131, 157, 183, 209, 236]),
    ("dense:10,rule=temporal-shift-module", 64, (8, 8), [0] * 10),
    ("segments:8", 300, (1, 1), [18, 56, 93, 131, 168, 206, 243, 281]),
    ("segments:7", 300, (1, 1), [21, 64, 107, 150, 192, 235, 278]),
    ("segments:1", 300, (8, SPREAD), [18]),
    ("twice:3", 300, (8, SPREAD), [0, 18]),
    ("clips:19", 291, (10, 1), list(range(0, 253, 14))),
    ("clips:5", 92, (10, 1), [0, 16, 32, 48, 64]),
    ("clips:5,segment=3of3", 92, (10, 1), [55, 60, 65, 70, 75]),
    ("segments:3,segment=1of3", 90, (1, 1), [5, 15, 25]),
    ("segments:3,segment=3of3", 2, (1, 1), [1, 1, 1]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "length", "clip", "expected"), RULES_OF_OTHERS)
def test_rules_of_other_codes(
    text: str, length: int, clip: tuple[int, int], expected: list[int]
) -> None:
    sampling = {"snippet_length": clip[0], "interval": clip[1]}
    assert find_protocol(text).snippet_starts(length, **sampling) == expected


# Text, the name that results have, the same in a file name, views, side of an input of 224.
TEXTS = [
    ("segments:8", "segments:8", "segments8", 8, 224),
    ("segments:3", "segments3", "segments3", 3, 224),
    ("clips:19", "clips19", "clips19", 19, 224),
    ("clips:5", "clips:5", "clips5", 5, 224),
    ("clips:5,crops=1", "clips:5x1", "clips5x1", 5, 224),
    ("dense:10,crops=3", "dense10x3", "dense10x3", 30, 256),
    ("dense:10x3,scale=224", "dense:10x3,scale=224", "dense10x3-scale-224", 30, 224),
    ("twice:3", "twice3", "twice3", 6, 256),
    ("segments:25x10", "tsn25x10", "tsn25x10", 250, 224),
    ("segments:8,crops=3,scale=256", "segments:8x3", "segments8x3", 24, 256),
    ("segments:2,crops=whole", "segments:2,crops=whole", "segments2-crops-whole", 2, 224),
    ("segments:2,crops=5", "segments:2x5", "segments2x5", 10, 224),
    ("clips19,segment=2of3", "clips19,segment=2of3", "clips19-segment-2of3", 19, 224),
]


@pytest.mark.parametrize(("text", "name", "file_name", "views", "side"), TEXTS)
def test_texts(text: str, name: str, file_name: str, views: int, side: int) -> None:
    protocol = find_protocol(text)
    assert (protocol.name, protocol_in_file_name(protocol.name)) == (name, file_name)
    assert (protocol.num_snippets * protocol.num_crops, protocol.side(224)) == (views, side)
    assert f": {views} views" in protocol.text
    assert find_protocol(name).metadata(size=224) == protocol.metadata(size=224)


def test_scale_is_the_short_side_that_crops_are_cut_from() -> None:
    assert find_protocol("segments:1,scale=232").views(232, 290) == plain(Box(4, 33, 224, 224))
    assert find_protocol("segments:1,scale=224").views(240, 320) == plain(Box(0, 40, 240, 240))
    assert find_protocol("segments:1x5").views(256, 340) == plain(
        *(Box(*corner, 224, 224) for corner in CORNERS[256, 340])
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("efficient", "depends on the network"),
        ("accurate", "depends on the network"),
        ("clips20", "not one of the protocols clips19, .*segments:8"),
        ("segments:", "'' is no whole number from 1 to 1000"),
        ("segments:0", "'0' is no whole number"),
        ("segments:1001", "'1001' is no whole number"),
        ("segments:8x2", "crops is '2', allowed: whole, 1, 3, 5, 10"),
        ("twice:3x2", "the number behind twice: is that of the crops"),
        ("twice:3,rule=mmaction2", "rule is 'mmaction2', twice has its own alone"),
        ("clips:5,scale=256", "a whole frame has no scale"),
        ("dense:10,scale=200", "'200' is no whole number from 224"),
        ("dense:10,rule=tsm", "rule is 'tsm', allowed: tsn-pytorch, .*mmaction2-0.x"),
        ("dense:10x3,crops=1", "'crops=1' is none of .* once each"),
        ("dense:10,flips=2", "'flips=2' is none of crops=, scale=, rule=, segment="),
        ("segments:3,segment=4of3", "segment is '4of3', not one such as 2of3"),
        ("own:protocol", "'own:protocol' would run code"),
    ],
)
def test_wrong_texts(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        find_protocol(text)


# What published tables call efficient and accurate, by network.
OF_NETWORKS = {
    "resnet50": (8, 1, "segments:8", "segments:25x3"),
    "tsm-resnet50": (1, 0, "segments:1", "twice3"),
    "tsm-mobilenet_v2": (1, 8, "dense10", "dense10x3"),
    "i3d-resnet50": (1, 2, "dense:1", "dense10x3"),
    "r3d_18": (1, 2, "dense:1", "dense10x3"),
}


@pytest.mark.parametrize("model", OF_NETWORKS)
def test_efficient_and_accurate_are_the_networks_own(model: str) -> None:
    segments, interval, efficient, accurate = OF_NETWORKS[model]
    for name, expected in (
        ("efficient", efficient),
        ("accurate", accurate),
        ("clips:19", "clips19"),
    ):
        assert (
            network_protocol(name, model=model, num_segments=segments, frame_interval=interval)
            == expected
        )


SAMPLERS = (centre_of_segments, equal_whole_steps, first_to_last, first_to_last_truncated)


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
        (11, 5, [0, 2, 4, 6, 8]),
        (100, 19, list(range(0, 95, 5))),
        (1, 3, [0, 0, 0]),
    ],
)
def test_equal_whole_steps(positions: int, count: int, expected: list[int]) -> None:
    assert equal_whole_steps(positions, count) == expected


def test_start_and_centre_of_segments() -> None:
    assert start_and_centre_of_segments(9, 2) == [0, 4]
    assert start_and_centre_of_segments(16, 4) == [0, 4, 8, 12]


def test_random_in_segments_reaches_every_start_of_its_segment_only() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([random_in_segments(9, 3, rng=rng) for _ in range(300)])
    assert [sorted(set(column)) for column in drawn.T] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_spread_frames_are_drawn_each_in_its_own_part() -> None:
    """TSM's training samples: 9 frames, 3 of them; with two segments the parts are halved."""
    rng = np.random.default_rng(0)
    spread = {"snippet_length": 3, "interval": SPREAD, "rng": rng}
    drawn = np.array([random_snippets(9, 1, **spread)[0] for _ in range(300)])
    assert [sorted(set(column)) for column in drawn.T] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert len({tuple(row) for row in drawn.tolist()}) == 27  # independently of each other
    pairs = np.array([random_snippets(12, 2, **spread) for _ in range(300)])
    seen = [[sorted(set(pairs[:, s, t])) for t in range(3)] for s in range(2)]
    assert seen == [[[0, 1], [4, 5], [8, 9]], [[2, 3], [6, 7], [10, 11]]]
    assert random_snippets(2, 1, **spread) == [[0, 0, 1]]


def test_frames_at_a_distance_start_at_random() -> None:
    options = {"snippet_length": 3, "interval": 2}
    snippets = random_snippets(20, 2, rng=np.random.default_rng(3), **options)
    starts = random_in_segments(16, 2, rng=np.random.default_rng(3))
    assert snippets == [[start, start + 2, start + 4] for start in starts]


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


def test_stacks_at_each_time_step() -> None:
    """8 stacks of 5 flow fields, in the middle of each eighth; TSM's code rounds otherwise."""
    sampling = {"snippet_length": 40, "interval": SPREAD, "stack": 5}
    starts = find_protocol("segments:1").snippet_starts(99, **sampling)
    (indices,) = snippet_indices(starts, length=99, **sampling)
    tick = (99 - 5 + 1) / 8
    firsts = [5, 16, 28, 40, 52, 64, 76, 88]
    assert all(0 <= int(tick / 2 + tick * t) - first <= 1 for t, first in enumerate(firsts))
    assert indices == [first + step for first in firsts for step in range(5)]
    assert snippet_indices([0], length=3, snippet_length=4, interval=SPREAD, stack=2) == [
        [0, 1, 1, 2]
    ]
    assert snippet_indices([0], length=1, snippet_length=4, interval=SPREAD, stack=2) == [[0] * 4]
