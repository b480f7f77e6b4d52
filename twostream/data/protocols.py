"""How test views are taken. The name of the protocol is part of every result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twostream.data.sampling import centre_of_segments, evenly_spaced, start_and_centre_of_segments
from twostream.transforms.boxes import View, centre_box, corner_boxes, three_boxes, whole

CROP = 224 / 256  # the field scales the short side to 256 and cuts 224 from it


Views = Callable[[int, int], list[View]]


def whole_frame(height: int, width: int) -> list[View]:
    """One view: the whole frame; scaled to a square, its aspect is lost."""
    return [View(whole(height, width))]


def centre_crop(height: int, width: int) -> list[View]:
    """One view: the middle square of 224/256 of the short side."""
    return [View(centre_box(height, width, size=_crop_side(height, width)))]


def ten_crop(height: int, width: int) -> list[View]:
    """Ten views: corners and centre of 224/256 of the short side, each mirrored too."""
    boxes = corner_boxes(height, width, size=_crop_side(height, width))
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
