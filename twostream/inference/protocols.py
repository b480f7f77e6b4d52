"""How test views are taken. The name of the protocol is part of every result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twostream.data.sampling import centre_of_segments, evenly_spaced
from twostream.transforms.boxes import Box, centre_box, whole


def whole_frame(height: int, width: int) -> list[Box]:
    """One view: the whole frame; scaled to a square, its aspect is lost."""
    return [whole(height, width)]


def centre_crop(height: int, width: int) -> list[Box]:
    """One view: the middle square with 224/256 of the short side, the field's centre crop."""
    return [centre_box(height, width, size=max(1, round(min(height, width) * 224 / 256)))]


@dataclass(frozen=True, slots=True)
class Protocol:
    """Test views of a video: which snippets (S), and which boxes (R) of each.

    Attributes:
        name: as results name it.
        num_snippets: S.
        starts: (positions, S) -> start of each snippet.
        boxes: (height, width) -> the R boxes; each is scaled to the network's input size.
        text: one line for people.
    """

    name: str
    num_snippets: int
    starts: Callable[[int, int], list[int]]
    boxes: Callable[[int, int], list[Box]]
    text: str


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "clips19",
            19,
            evenly_spaced,
            whole_frame,
            "19 evenly spaced snippets, whole frame scaled to the input size",
        ),
        Protocol(
            "segments3",
            3,
            centre_of_segments,
            centre_crop,
            "the centre of each of 3 segments, centre crop",
        ),
        Protocol(
            "segments25",
            25,
            centre_of_segments,
            centre_crop,
            "the centre of each of 25 segments, centre crop",
        ),
    )
}
