"""Where snippets start, and test protocols: which snippets and crops of a video are scored.

A snippet of length L (1 RGB frame, or L flow pairs) may start at P = max(1, length - L + 1)
positions; with an interval k from frame to frame, at max(1, length - (L - 1) k) of them. Spread
over the whole video, it may start anywhere in the first of L equal parts. Segments cut these
positions into equal parts (TSN: Wang et al., ECCV 2016, section 3.1).

One rule for short videos, the same in training and in testing: what would lie behind the end is the
last frame (or flow pair) again.

A protocol is written as a text, KIND:COUNT with parameters behind it, such as `segments:8`,
`dense:10x3` or `clips:5,crops=1,scale=224`; see `find_protocol`. Codes of the field place snippets
in different ways, so each rule has the name of the code that it repeats (`RULES`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from twostream.transforms.clips import Box, View, centre_box, corner_boxes, three_boxes
from twostream_base import plugins
from twostream_base.errors import InputError

SPREAD = 0  # an interval: as long as the video allows


def num_positions(length: int, *, snippet_length: int, interval: int = 1, stack: int = 1) -> int:
    """How many starts a snippet has in a video of `length` frames or flow pairs; at least 1.

    Args:
        stack: so many of its frames or pairs lie in a row, at each of its time steps.
    """
    if length < 1:
        raise ValueError(f"length ({length}) must be at least 1")
    if stack > 1:
        length = max(1, length - stack + 1)
        snippet_length //= stack
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


def equal_whole_steps(positions: int, count: int) -> list[int]:
    """`count` starts from the first on, at steps of whole positions: the end may be missed.

    positions 11, count 5: 0 2 4 6 8
    """
    return [i * (positions // count) for i in range(count)]


def first_to_last(positions: int, count: int) -> list[int]:
    """`count` starts from the first to the last possible one; a single one lies in the middle.

    positions 10, count 4: 0 3 6 9
    """
    if count == 1:
        return [(positions - 1) // 2]
    return [int(start) for start in np.round(np.arange(count) * ((positions - 1) / (count - 1)))]


def first_to_last_truncated(positions: int, count: int) -> list[int]:
    """The same, but truncated instead of rounded.

    positions 9, count 4: 0 2 5 8
    """
    return [int(start) for start in np.linspace(0, positions - 1, num=count, dtype=int)]


def snippet_indices(
    starts: Sequence[int], *, snippet_length: int, length: int, interval: int = 1, stack: int = 1
) -> list[list[int]]:
    """Frame or flow indices of each snippet, repeating the last one past the end.

    starts 0 3, snippet_length 3, length 5: [[0 1 2] [3 4 4]]
    start 1, snippet_length 3, interval 2, length 9: [[1 3 5]]
    starts 0 2, snippet_length 3, interval SPREAD, length 9: [[0 3 6] [2 5 8]]
    start 0, snippet_length 6, interval SPREAD, stack 3, length 10: [[0 1 2 4 5 6]]
    """
    if stack > 1:
        steps_of = snippet_indices(
            starts,
            snippet_length=snippet_length // stack,
            length=max(1, length - stack + 1),
            interval=interval,
        )
        return [
            [min(step + index, length - 1) for step in steps for index in range(stack)]
            for steps in steps_of
        ]
    steps = [
        t * length // snippet_length if interval == SPREAD else t * interval
        for t in range(snippet_length)
    ]
    return [[min(start + step, length - 1) for step in steps] for start in starts]


def random_snippets(
    length: int, count: int, *, snippet_length: int, interval: int, stack: int = 1, rng: Generator
) -> list[list[int]]:
    """Indices of one random snippet in each of `count` segments: the training samples.

    Frames that are spread over the video are drawn one by one, each in its own part of the video,
    as in the code of TSM and in mmaction2. Others keep their distance, and their start is drawn.

        length 9, count 1, snippet_length 3, interval SPREAD: one of 0 1 2, of 3 4 5, of 6 7 8
    """
    clip = {"snippet_length": snippet_length, "interval": interval, "stack": stack}
    positions = num_positions(length, **clip)
    if interval != SPREAD:
        starts = random_in_segments(positions, count, rng=rng)
        return snippet_indices(starts, length=length, **clip)
    indices = snippet_indices([0], length=length, **clip)[0]
    drawn = [random_in_segments(positions, count, rng=rng) for _ in indices[::stack]]
    return [
        [min(index + drawn[i // stack][segment], length - 1) for i, index in enumerate(indices)]
        for segment in range(count)
    ]


Views = Callable[[int, int], list[View]]
CROP_SIDE, SHORT_SIDE = 224, 256  # the field scales the short side to 256 and cuts 224 from it


def whole_frame(height: int, width: int) -> list[View]:
    """One view: the whole frame; scaled to a square, its aspect is lost."""
    return [View(Box(0, 0, height, width))]


def centre_crop(height: int, width: int, *, scale: int = SHORT_SIDE) -> list[View]:
    """One view: the middle square, of 224/`scale` of the short side."""
    return [View(centre_box(height, width, size=_crop_side(height, width, scale)))]


def five_crop(height: int, width: int, *, scale: int = SHORT_SIDE) -> list[View]:
    """Five views: squares of 224/`scale` of the short side in the corners and the middle."""
    side = _crop_side(height, width, scale)
    return [View(box) for box in corner_boxes(height, width, size=(side, side))]


def ten_crop(height: int, width: int, *, scale: int = SHORT_SIDE) -> list[View]:
    """Ten views: those of `five_crop`, then the same mirrored."""
    views = five_crop(height, width, scale=scale)
    return views + [View(view.box, mirrored=True) for view in views]


def three_crop(height: int, width: int) -> list[View]:
    """Three views: squares as large as the frame allows, at both ends and in the middle."""
    return [View(box) for box in three_boxes(height, width)]


def _crop_side(height: int, width: int, scale: int) -> int:
    return max(1, round(min(height, width) * (CROP_SIDE / scale)))


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
        last_gap: a snippet of L frames at an interval k takes L * k frames, not (L - 1) * k + 1:
            its last possible start is k - 1 earlier.
        segment: (n, N): the snippets lie in the n-th of N segments, as --train-segment counts them;
            None: in the whole video.
    """

    name: str
    num_snippets: int
    starts: Callable[[int, int], list[int]]
    views: Views
    text: str
    scale: float = 1.0
    last_gap: bool = False
    segment: tuple[int, int] | None = None

    @property
    def num_crops(self) -> int:
        """R, the views of one snippet."""
        return len(self.views(256, 340))

    def snippet_starts(
        self, length: int, *, snippet_length: int, interval: int = 1, stack: int = 1
    ) -> list[int]:
        """Start of each of the S snippets in a video of `length` frames or flow pairs."""
        positions = num_positions(
            length, snippet_length=snippet_length, interval=interval, stack=stack
        )
        if self.last_gap:
            positions = max(1, positions - max(0, interval - 1))
        if self.segment is None:
            return self.starts(positions, self.num_snippets)
        number, count = self.segment
        first, end = ((number - 1) * positions // count, number * positions // count)
        first = min(first, positions - 1)
        within = self.starts(max(1, end - first), self.num_snippets)
        return [first + start for start in within]

    def within_segment(self, number: int, count: int) -> Protocol:
        """The same snippets and views, but in the `number`-th (from 1) of `count` segments."""
        return replace(
            self,
            name=f"{self.name},segment={number}of{count}",
            text=f"{self.text}, in segment {number} of {count}",
            segment=(number, count),
        )

    def metadata(self, *, size: int) -> dict[str, Any]:
        """All of it as JSON values, for the files that its scores are kept in.

        Args:
            size: side that the network was trained with, pixels.
        """
        card = {
            "text": self.text,
            "snippets": self.num_snippets,
            "starts": _name(self.starts),
            "crops": self.num_crops,
            "views": _name(self.views),
            "scale": self.scale,
            "side": self.side(size),
        }
        if self.last_gap:
            card["last_gap"] = True
        if self.segment:
            card["segment"] = list(self.segment)
        return card

    def side(self, size: int) -> int:
        """Side of each view in pixels, for a network that was trained with `size`."""
        return round(size * self.scale)


class Rule(NamedTuple):
    """Where snippets begin, as a code of the field has it."""

    starts: Callable[[int, int], list[int]]
    text: str  # with {count}
    last_gap: bool = False


# Named after the code that each repeats. mmaction2 changed its own with version 1; the results that
# most tables quote were made before.
RULES = {
    "tsn-pytorch": Rule(centre_of_segments, "the centre of each of {count} segments"),
    "two-stream-action-recognition": Rule(equal_whole_steps, "{count} evenly spaced snippets"),
    "mmaction2": Rule(first_to_last, "{count} snippets from the first to the last"),
    "mmaction2-0.x": Rule(centre_of_segments, "the centre of each of {count} segments", True),
    "temporal-shift-module": Rule(
        first_to_last_truncated, "{count} snippets from the first to the last", True
    ),
}
TWICE = Rule(start_and_centre_of_segments, "the first and the middle snippet")

# Kind -> its rule, and its views: `whole`, or the number of crops.
KINDS = {
    "segments": ("tsn-pytorch", "1"),
    "clips": ("two-stream-action-recognition", "whole"),
    "dense": ("mmaction2", "1"),
    "twice": ("", ""),
}
CROPS: dict[str, tuple[Callable[..., list[View]], str]] = {
    "whole": (whole_frame, "whole frame scaled to a square"),
    "1": (centre_crop, "centre crop"),
    "3": (three_crop, "three crops of {scale}"),
    "5": (five_crop, "five crops"),
    "10": (ten_crop, "ten crops"),
}
LARGEST = 1000  # of counts and scales: a typing error should end in one line, not in hours

# What is used most, by short names; results name these protocols so, however they were typed.
ALIASES = {
    "clips19": "clips:19",
    "segments3": "segments:3",
    "segments25": "segments:25",
    "tsn25x10": "segments:25x10",
    "dense10": "dense:10",
    "dense10x3": "dense:10x3",
    "twice3": "twice:3",
}
# What result tables call efficient and accurate is each network's own: `models.network_protocol`.
OF_THE_NETWORK = ("efficient", "accurate")
EXAMPLES = "segments:8, clips:5, dense:10x3, twice:3, segments:8,crops=3,scale=256"


def find_protocol(protocol: str | Protocol) -> Protocol:
    """The protocol that a text means: a name of PROTOCOLS, or KIND:COUNT with parameters.

        segments:8      the centre of each of 8 segments, centre crop     (tsn-pytorch)
        clips:5         5 snippets at equal steps, whole frame            (two-stream-...)
        dense:10        10 snippets from the first to the last, centre crop    (mmaction2)
        dense:10x3      the same with three crops, also written dense:10,crops=3
        twice:3         the first and the middle snippet, three crops     (temporal-shift-module)

    Parameters, each after a comma: `crops=` whole, 1, 3, 5 or 10; `scale=` of the short side in
    pixels, of which crops of 224 are cut (256; three crops take the whole short side), in
    proportion for networks of another input size; `rule=` a key of RULES; `segment=2of3` for
    snippets of the second of three segments alone.

    A `module:function` is imported if it is a `TrustedName`, as everywhere.

    Raises:
        InputError: another text; it says what is allowed.
    """
    if not isinstance(protocol, str):
        return protocol
    if protocol in OF_THE_NETWORK:
        raise InputError(
            f"the protocol {protocol!r} depends on the network, which is not known here; give a "
            f"protocol by its own name, such as {EXAMPLES}"
        )
    head, *parameters = protocol.split(",")
    kind, colon, count = ALIASES.get(head, head).partition(":")
    if kind not in KINDS or not colon:
        if not colon:
            raise InputError(
                f"{protocol!r} is not one of the protocols {', '.join(PROTOCOLS)}, nor a text such "
                f"as {EXAMPLES}, nor module:function"
            )
        return plugins.load(protocol, PROTOCOLS)

    def refuse(reason: str) -> InputError:
        return InputError(f"protocol {protocol!r}: {reason}; expected a text such as {EXAMPLES}")

    def whole_number(text: str, least: int) -> int:
        if not re.fullmatch(r"[1-9][0-9]{0,3}", text) or not least <= int(text) <= LARGEST:
            raise refuse(f"{text!r} is no whole number from {least} to {LARGEST}")
        return int(text)

    rule_name, default_crops = KINDS[kind]
    values: dict[str, str] = {}
    number, times, crops = count.partition("x")
    if times:
        values["crops"] = crops
    if kind == "twice":
        if times or any(parameter.startswith("crops=") for parameter in parameters):
            raise refuse("the number behind twice: is that of the crops")
        values["crops"], number = number, "2"
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        if not equals or key not in ("crops", "scale", "rule", "segment") or key in values:
            raise refuse(f"{parameter!r} is none of crops=, scale=, rule=, segment=, once each")
        values[key] = value
    snippets = whole_number(number, 1)
    crops = values.get("crops", default_crops)
    if crops not in CROPS:
        raise refuse(f"crops is {crops!r}, allowed: {', '.join(CROPS)}")
    scale = whole_number(values.get("scale", str(SHORT_SIDE)), CROP_SIDE)
    if "scale" in values and crops == "whole":
        raise refuse("a whole frame has no scale")
    if "rule" in values and (kind == "twice" or values["rule"] not in RULES):
        allowed = "twice has its own alone" if kind == "twice" else f"allowed: {', '.join(RULES)}"
        raise refuse(f"rule is {values['rule']!r}, {allowed}")
    rule_name = values.get("rule", rule_name)
    rule = RULES[rule_name] if rule_name else TWICE

    views, crops_text = CROPS[crops]
    if scale != SHORT_SIDE and crops != "3":
        views, crops_text = partial(views, scale=scale), f"{crops_text} of {scale}"
    total = snippets * len(views(256, 340))
    middle = snippets == 1 and rule.starts is not equal_whole_steps
    where = "one snippet in the middle" if middle else rule.text.format(count=snippets)
    shown = "" if kind == "twice" or crops in (default_crops, "whole") else f"x{crops}"
    name = f"{kind}:{crops if kind == 'twice' else snippets}{shown}"
    if crops == "whole" != default_crops:
        name += ",crops=whole"
    if scale != SHORT_SIDE:
        name += f",scale={scale}"
    if rule_name != KINDS[kind][0]:
        name += f",rule={rule_name}"
    result = Protocol(
        {text: alias for alias, text in ALIASES.items()}.get(name, name),
        snippets,
        rule.starts,
        views,
        f"{where}, {crops_text.format(scale=scale)}: {total} view{'s' * (total > 1)}",
        1 / (CROP_SIDE / scale) if crops == "3" else 1.0,
        rule.last_gap,
    )
    if "segment" not in values:
        return result
    which, of, among = values["segment"].partition("of")
    if not of or whole_number(which, 1) > whole_number(among, 1):
        raise refuse(f"segment is {values['segment']!r}, not one such as 2of3")
    return result.within_segment(int(which), int(among))


PROTOCOLS: dict[str, Protocol] = {}
PROTOCOLS |= {alias: find_protocol(alias) for alias in ALIASES}


def protocol_in_file_name(name: str) -> str:
    """A protocol's name without the characters that not every file system takes.

    `clips:5,segment=3of3` becomes `clips5-segment-3of3`, `own:two_ends` `own.two_ends`.
    """
    separator = "" if name.partition(":")[0] in KINDS else "."
    return name.replace(":", separator).replace(",", "-").replace("=", "-")


def _name(function: Callable[..., Any]) -> str:
    if isinstance(function, partial):
        options = ", ".join(f"{key}={value}" for key, value in function.keywords.items())
        return f"{_name(function.func)}({options})"
    return getattr(function, "__name__", repr(function))
