"""Which frames are looked at, and the test protocols: the name of one is part of every result.

A snippet of length L (1 RGB frame, or L flow pairs) may start at P = max(1, length - L + 1)
positions; with an interval k from frame to frame, at max(1, length - (L - 1) k) of them. Spread
over the whole video, it may start anywhere in the first of L equal parts. Segments cut these
positions into equal parts (TSN: Wang et al., ECCV 2016, section 3.1).

One rule for short videos, the same in training and in testing: what would lie behind the end is the
last frame (or flow pair) again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator

from twostream.transforms.clips import Box, View, centre_box, corner_boxes, three_boxes

SPREAD = 0  # an interval: as long as the video allows


def num_positions(length: int, *, snippet_length: int, interval: int = 1) -> int:
    """How many starts a snippet has in a video of `length` frames or flow pairs; at least 1."""
    if length < 1:
        raise ValueError(f"length ({length}) must be at least 1")
    if interval == SPREAD:
        return max(1, length // snippet_length)
    return max(1, length - (snippet_length - 1) * interval)


def random_in_segments(positions: int, count: int, *, rng: Generator) -> list[int]:
    """One random start in each of `count` segments: the training samples of TSN.

    With fewer positions than segments some starts repeat; they never decrease.

        positions 9, count 3: one of 0 1 2, one of 3 4 5, one of 6 7 8
    """
    edges = [i * positions // count for i in range(count + 1)]
    return [
        int(rng.integers(low, max(high, low + 1)))
        for low, high in zip(edges, edges[1:], strict=False)
    ]


def centre_of_segments(positions: int, count: int) -> list[int]:
    """The middle start of each of `count` segments.

    positions 9, count 3: 1 4 7
    """
    return [(2 * i + 1) * positions // (2 * count) for i in range(count)]


def start_and_centre_of_segments(positions: int, count: int) -> list[int]:
    """The first and the middle start of each of `count` / 2 segments ("twice" sampling).

    positions 9, count 2: 0 4
    """
    half = count // 2
    starts = [i * positions // half for i in range(half)]
    return sorted(starts + centre_of_segments(positions, half))


def evenly_spaced(positions: int, count: int) -> list[int]:
    """`count` starts at equal steps from the first on.

    positions 10, count 5: 0 2 4 6 8
    """
    return [i * positions // count for i in range(count)]


def snippet_indices(
    starts: Sequence[int], *, snippet_length: int, length: int, interval: int = 1
) -> list[list[int]]:
    """Frame or flow indices of each snippet, repeating the last one past the end.

    starts 0 3, snippet_length 3, length 5: [[0 1 2] [3 4 4]]
    start 1, snippet_length 3, interval 2, length 9: [[1 3 5]]
    starts 0 2, snippet_length 3, interval SPREAD, length 9: [[0 3 6] [2 5 8]]
    """
    steps = [
        t * length // snippet_length if interval == SPREAD else t * interval
        for t in range(snippet_length)
    ]
    return [[min(start + step, length - 1) for step in steps] for start in starts]


CROP = 224 / 256  # the field scales the short side to 256 and cuts 224 from it


Views = Callable[[int, int], list[View]]


def whole_frame(height: int, width: int) -> list[View]:
    """One view: the whole frame; scaled to a square, its aspect is lost."""
    return [View(Box(0, 0, height, width))]


def centre_crop(height: int, width: int) -> list[View]:
    """One view: the middle square of 224/256 of the short side."""
    return [View(centre_box(height, width, size=_crop_side(height, width)))]


def ten_crop(height: int, width: int) -> list[View]:
    """Ten views: corners and centre of 224/256 of the short side, each mirrored too."""
    side = _crop_side(height, width)
    boxes = corner_boxes(height, width, size=(side, side))
    return [View(box, mirrored) for mirrored in (False, True) for box in boxes]


def three_crop(height: int, width: int) -> list[View]:
    """Three views: squares as large as the frame allows, at both ends and in the middle."""
    return [View(box) for box in three_boxes(height, width)]


@dataclass(frozen=True, slots=True)
class Protocol:
    """Test views of a video: which snippets (S), and which views (R) of each.

    Attributes:
        name: as results name it.
        num_snippets: S.
        starts: (positions, S) -> start of each snippet.
        views: (height, width) -> the R views; each is scaled to a square.
        text: one line for people.
        scale: side of that square, relative to the side that the network was trained with.
    """

    name: str
    num_snippets: int
    starts: Callable[[int, int], list[int]]
    views: Views
    text: str
    scale: float = 1.0

    @property
    def num_crops(self) -> int:
        """R, the views of one snippet."""
        return len(self.views(256, 340))

    def metadata(self, *, size: int) -> dict[str, Any]:
        """All of it as JSON values, for the files that its scores are kept in.

        Args:
            size: side that the network was trained with, pixels.
        """
        return {
            "text": self.text,
            "snippets": self.num_snippets,
            "starts": _name(self.starts),
            "crops": self.num_crops,
            "views": _name(self.views),
            "scale": self.scale,
            "side": self.side(size),
        }

    def side(self, size: int) -> int:
        """Side of each view in pixels, for a network that was trained with `size`."""
        return round(size * self.scale)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("clips19", 19, evenly_spaced, whole_frame,
                 "19 evenly spaced snippets, whole frame scaled to a square"),
        Protocol("segments3", 3, centre_of_segments, centre_crop,
                 "the centre of each of 3 segments, centre crop"),
        Protocol("segments25", 25, centre_of_segments, centre_crop,
                 "the centre of each of 25 segments, centre crop"),
        Protocol("tsn25x10", 25, centre_of_segments, ten_crop,
                 "the centre of each of 25 segments, ten crops: 250 views"),
        Protocol("efficient", 1, centre_of_segments, centre_crop,
                 "one snippet in the middle, centre crop: 1 view"),
        Protocol("accurate", 25, centre_of_segments, three_crop,
                 "the centre of each of 25 segments, three crops of 256: 75 views", 1 / CROP),
        Protocol("dense10", 10, centre_of_segments, centre_crop,
                 "the centre of each of 10 segments, centre crop: 10 views"),
        Protocol("dense10x3", 10, centre_of_segments, three_crop,
                 "the centre of each of 10 segments, three crops of 256: 30 views", 1 / CROP),
        Protocol("twice3", 2, start_and_centre_of_segments, three_crop,
                 "the first and the middle snippet, three crops of 256: 6 views", 1 / CROP),
    )
}  # fmt: skip


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", repr(function))


def _crop_side(height: int, width: int) -> int:
    return max(1, round(min(height, width) * CROP))
