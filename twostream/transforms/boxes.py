"""Parts of a frame, in pixels: the crops of training and testing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numpy.random import Generator


class Box(NamedTuple):
    """A rectangle of a frame."""

    top: int
    left: int
    height: int
    width: int


class View(NamedTuple):
    """One look at a snippet: a part of the frame, mirrored or not."""

    box: Box
    mirrored: bool = False


def whole(height: int, width: int) -> Box:
    """The box of a whole frame."""
    return Box(0, 0, height, width)


def centre_box(height: int, width: int, *, size: int) -> Box:
    """The square of side `size` in the middle of a frame."""
    return Box((height - size) // 2, (width - size) // 2, size, size)


def corner_boxes(height: int, width: int, *, size: int) -> list[Box]:
    """Squares of side `size` in the four corners and the middle."""
    down, right = height - size, width - size
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    return [Box(top, left, size, size) for top, left in corners]


def three_boxes(height: int, width: int) -> list[Box]:
    """Squares with the short side at the beginning, middle and end of the long side."""
    size = min(height, width)
    down, right = height - size, width - size
    return [Box(down * i // 2, right * i // 2, size, size) for i in range(3)]


def random_corner_box(height: int, width: int, *, scales: tuple[float, ...], rng: Generator) -> Box:
    """Draw a crop at a corner or the centre, its sides among neighbouring `scales`.

    Corner cropping with scale jittering: Wang et al., ECCV 2016, section 3.2. Height and width are
    drawn apart, at most one step of the scales from each other.

    Args:
        scales: sides relative to the frame's short side, in descending order.
    """
    first = int(rng.integers(len(scales)))
    second = min(max(first + int(rng.integers(-1, 2)), 0), len(scales) - 1)
    short = min(height, width)
    box_height, box_width = (max(1, round(short * scales[i])) for i in (first, second))
    down, right = height - box_height, width - box_width
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    top, left = corners[int(rng.integers(len(corners)))]
    return Box(top, left, box_height, box_width)
