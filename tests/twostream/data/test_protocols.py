from __future__ import annotations

import pytest

from twostream.data.protocols import PROTOCOLS, View
from twostream.data.sampling import num_positions, snippet_indices
from twostream.transforms.boxes import Box

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
STACKS = {
    "segments3": ([0, 1, 1], [0, 0, 0]),
    "efficient": ([1], [0]),
    "twice3": ([0, 1], [0, 0]),
}


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
