from __future__ import annotations

import pytest

from twostream.data.sampling import num_positions
from twostream.inference.protocols import PROTOCOLS
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
}  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOLS)
def test_exact_starts(name: str) -> None:
    protocol = PROTOCOLS[name]
    for (length, snippet_length), expected in EXPECTED[name].items():
        positions = num_positions(length, snippet_length=snippet_length)
        assert protocol.starts(positions, protocol.num_snippets) == expected


BOXES = {
    "clips19": {(240, 320): [Box(0, 0, 240, 320)], (121, 161): [Box(0, 0, 121, 161)]},
    "segments3": {(240, 320): [Box(15, 55, 210, 210)], (121, 161): [Box(7, 27, 106, 106)]},
    "segments25": {(256, 340): [Box(16, 58, 224, 224)], (1, 1): [Box(0, 0, 1, 1)]},
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_exact_boxes(name: str) -> None:
    for size, expected in BOXES[name].items():
        assert PROTOCOLS[name].boxes(*size) == expected
