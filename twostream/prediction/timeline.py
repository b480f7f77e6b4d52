"""Classes over time: curves of every stream and their fusion, and the events, as PNG, SVG, or film.

A drawing is a list of shapes, which are written as SVG, or painted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flow_extract.display.show import FILMS, write_png
from flow_extract.video.decode import open_video
from flow_extract.video.frames import resize, scaled_size
from fusion.events.event import Event
from twostream.prediction.annotated import GIF_FPS
from twostream.prediction.long_videos import LongPrediction
from twostream.prediction.networks import FUSED
from twostream_base.errors import InputError
from twostream_base.files import write_text

SUFFIXES = (".png", ".svg", *FILMS)
WIDTH, LEFT, MARGIN, LINE, TEXT_SIZE = 960, 84, 12, 20, 13
PANEL, EVENT_ROW = 84, 16
MOST_CLASSES = 6  # that get a curve: those that are likeliest somewhere
FILM_WIDTH, GIF_SECONDS = 720, 600
# Colours that all eyes tell apart (Okabe and Ito).
COLORS = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
)
GREY, LIGHT, DARK = (225, 225, 225), (150, 150, 150), (60, 60, 60)
Color = tuple[int, int, int]


class Shape(NamedTuple):
    """A `bar` (two corners), a `curve` (points), or a `text` (where it begins)."""

    kind: str
    points: list[tuple[float, float]]
    color: Color
    text: str = ""


class Drawing(NamedTuple):
    """Shapes, their size, and where a time lies: at `left` + `scale` * seconds."""

    shapes: list[Shape]
    width: int
    height: int
    left: float
    scale: float
    start: float

    def x(self, seconds: float) -> float:
        """Where a moment lies."""
        return self.left + self.scale * (seconds - self.start)


def draw_timeline(path: Path, prediction: LongPrediction, *, title: str) -> None:
    """Write the classes over time as a picture (PNG, SVG), or beneath the film (MP4, GIF).

    Args:
        path: its suffix, one of `SUFFIXES`, decides.
        title: line at the top.
    """
    suffix = path.suffix.lower()
    if suffix in FILMS:
        draw_film(path, prediction, title=title)
        return
    drawing = timeline(prediction, title=title, width=WIDTH)
    if suffix == ".svg":
        write_text(path, svg(drawing))
    else:
        write_png(path, painted(drawing))


def timeline(prediction: LongPrediction, *, title: str, width: int) -> Drawing:
    """Curves of the likeliest classes, a panel each for the fusion and each stream; the events.

    A curve has the probability of each window in its middle.
    """
    names, times = prediction.class_names, prediction.times
    sources = {FUSED: prediction.fused, **prediction.streams}
    if len(prediction.streams) == 1:
        sources = prediction.streams
    eventful = {event.label for event in prediction.events}
    peaks = prediction.fused.max(axis=0) + [name in eventful for name in names]
    classes = sorted(np.argsort(-peaks, kind="stable")[:MOST_CLASSES].tolist())
    colors = {names[index]: COLORS[place] for place, index in enumerate(classes)}
    start, end = float(times.min()), float(times.max())
    scale = (width - LEFT - MARGIN) / (end - start)
    shapes = [Shape("text", [(MARGIN, MARGIN)], DARK, title)]
    top, x = MARGIN + LINE, float(MARGIN)
    for name, color in colors.items():
        room = 30 + 0.62 * TEXT_SIZE * len(name)
        if x + room > width and x > MARGIN:
            top, x = top + LINE, float(MARGIN)
        shapes.append(Shape("bar", [(x, top + 4), (x + 10, top + 14)], color))
        shapes.append(Shape("text", [(x + 16, top)], DARK, name))
        x += room
    top += LINE + 6
    middles = LEFT + scale * (times.mean(axis=1) - start)
    for key, probs in sources.items():
        shapes.append(Shape("text", [(MARGIN, top + PANEL / 2 - 8)], DARK, key))
        for level in (0.0, 0.5, 1.0):
            y = top + PANEL * (1 - level)
            shapes.append(Shape("curve", [(LEFT, y), (width - MARGIN, y)], GREY))
            if level != 0.5:
                shapes.append(Shape("text", [(LEFT - 12, y - 10)], LIGHT, f"{level:.0f}"))
        # No more points than can be seen: of those at one place, the highest.
        step = max(1, ceil(len(times) / (2 * width)))
        begins = range(0, len(times), step)
        for name, color in colors.items():
            curve = probs[:, names.index(name)]
            heights = [float(curve[b : b + step].max()) for b in begins]
            places = [float(middles[b : b + step].mean()) for b in begins]
            points = [(p, top + PANEL * (1 - h)) for p, h in zip(places, heights, strict=True)]
            if len(points) == 1:  # one window: a line as long as it
                points = [(LEFT, points[0][1]), (width - MARGIN, points[0][1])]
            shapes.append(Shape("curve", points, color))
        top += PANEL + MARGIN
    shapes.append(Shape("text", [(MARGIN, top - 3)], DARK, "events"))

    def event_bar(event: Event, color: Color) -> Shape:
        first, last = (LEFT + scale * (t - start) for t in (event.start, event.end))
        return Shape("bar", [(first, top), (last, top + EVENT_ROW - 4)], color)

    for name, color in colors.items():
        of_class = [event for event in prediction.events if event.label == name]
        shapes += [event_bar(event, color) for event in of_class]
        top += EVENT_ROW if of_class else 0
    if others := [event for event in prediction.events if event.label not in colors]:
        shapes += [event_bar(event, LIGHT) for event in others]
        classes_left = len({event.label for event in others})
        shapes.append(Shape("text", [(MARGIN, top - 3)], LIGHT, f"{classes_left} more"))
        top += EVENT_ROW
    top += 4
    # Round steps, at least 70 pixels apart.
    steps = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400)
    tick = next((s for s in steps if s * scale >= 70), steps[-1])
    for seconds in range(ceil(start / tick) * tick, int(end) + 1, tick):
        x = LEFT + scale * (seconds - start)
        shapes.append(Shape("curve", [(x, top), (x, top + 4)], DARK))
        if x + 40 < width:
            shapes.append(Shape("text", [(x + 2, top)], DARK, clock(seconds)))
    return Drawing(shapes, width, top + LINE + MARGIN, LEFT, scale, start)


def clock(seconds: float) -> str:
    """`1:05`, or `1:02:05` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def svg(drawing: Drawing) -> str:
    """The drawing as an SVG file."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawing.width}" '
        f'height="{drawing.height}" viewBox="0 0 {drawing.width} {drawing.height}" '
        f'font-family="sans-serif" font-size="{TEXT_SIZE}">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for kind, points, color, text in drawing.shapes:
        ink = f"rgb{color}".replace(" ", "")
        (x, y), *rest = points
        if kind == "text":
            line = f'<text x="{x:.1f}" y="{y + TEXT_SIZE:.1f}" fill="{ink}">{escape(text)}</text>'
        elif kind == "bar":
            right, bottom = rest[0]
            line = (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(1.0, right - x):.1f}" '
                f'height="{bottom - y:.1f}" fill="{ink}"/>'
            )
        else:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            line = f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="1.5"/>'
        lines.append(line)
    return "\n".join([*lines, "</svg>", ""])


def painted(drawing: Drawing) -> Image.Image:
    """The drawing as a picture."""
    canvas = Image.new("RGB", (drawing.width, drawing.height), "white")
    pen = ImageDraw.Draw(canvas)
    pen.font = ImageFont.load_default(TEXT_SIZE)
    for kind, points, color, text in drawing.shapes:
        if kind == "text":
            pen.text(points[0], text, color)
        elif kind == "bar":
            (left, top), (right, bottom) = points
            pen.rectangle((left, top, max(left + 1, right), bottom), fill=color)
        else:
            pen.line(points, fill=color, width=2)
    return canvas


def draw_film(path: Path, prediction: LongPrediction, *, title: str) -> None:
    """Write the film with the timeline beneath it, where a line moves, and what is happening.

    Raises:
        InputError: a GIF of more than `GIF_SECONDS`.
    """
    with open_video(prediction.video) as video:
        size = scaled_size(video.info.width, video.info.height, min(video.info.height, 360))
    width = max(size[0], FILM_WIDTH)
    drawing = timeline(prediction, title=title, width=width)
    below = painted(drawing)
    fps, suffix = prediction.fps, path.suffix.lower()
    if suffix == ".gif" and (seconds := float(prediction.times.max())) > GIF_SECONDS:
        raise InputError(
            f"{path}: a GIF of {seconds:,.0f} s would have to be in memory as a whole; up to "
            f"{GIF_SECONDS} s are drawn. Give --out a name with .mp4: the scores are there already"
        )
    step = ceil(fps / GIF_FPS) if suffix == ".gif" else 1
    middles = prediction.times.mean(axis=1)

    def pictures() -> Iterator[Image.Image]:
        with open_video(prediction.video) as video:
            for number, frame in enumerate(video):
                if number % step == 0:
                    yield picture(frame, video.seconds[number] if video.seconds else number / fps)

    def picture(frame: np.ndarray, seconds: float) -> Image.Image:
        canvas = Image.new("RGB", (width, size[1] + LINE + drawing.height), "white")
        canvas.paste(Image.fromarray(resize(frame, size)), ((width - size[0]) // 2, 0))
        canvas.paste(below, (0, size[1] + LINE))
        pen = ImageDraw.Draw(canvas)
        pen.font = ImageFont.load_default(TEXT_SIZE)
        pen.text((MARGIN, size[1] + 3), describe(prediction, middles, seconds), DARK)
        x = drawing.x(min(seconds, float(prediction.times.max())))
        pen.line((x, size[1] + LINE + MARGIN + LINE, x, canvas.height), fill="black", width=1)
        return canvas

    FILMS[suffix](path, pictures(), fps=fps / step)


def describe(prediction: LongPrediction, middles: Sequence[float] | np.ndarray, at: float) -> str:
    """`0:05  Archery 93.0%`: the first class of the nearest window at a moment."""
    row = int(np.abs(np.asarray(middles) - at).argmin())
    best = int(prediction.fused[row].argmax())
    return f"{clock(at)}   {prediction.class_names[best]} {prediction.fused[row, best]:.1%}"
