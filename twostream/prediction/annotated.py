"""A prediction as a film: the frames, their flow in colours, and bars of the first classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flow_extract.display.color_wheel import flow_to_rgb, speed_scale, wheel_picture
from flow_extract.display.show import DEFAULT_FPS, FILMS, SCALE_PAIRS, stored_clip, write_png
from flow_extract.store.reader import StoreEntry
from flow_extract.video.frames import resize
from twostream.prediction.predict import Prediction

SUFFIXES = (".png", *FILMS)
GIF_FPS = 15  # at most: every frame of a GIF takes as much room as a picture
PICTURE_HEIGHT, LEAST_WIDTH, WHEEL_SIZE = 240, 480, 44
MARGIN, LINE, TEXT_SIZE = 12, 24, 15
LABEL_WIDTH, PERCENT_WIDTH, ROW_HEIGHT, BAR_HEIGHT, THIN_HEIGHT = 170, 60, 36, 13, 4
# The fused bar, then one for each stream: colours that all eyes tell apart (Okabe and Ito).
COLORS = ((60, 60, 60), (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167))
GREY, OUTLINE = (235, 235, 235), (200, 200, 200)


def draw_prediction(path: Path, prediction: Prediction, *, title: str, top: int = 5) -> None:
    """Write a film (GIF, MP4) of a video and what was predicted, or its middle frame (PNG).

    Flow is drawn where it was computed.

    Args:
        path: its suffix, one of `SUFFIXES`, decides.
        title: line at the top.
        top: how many classes get bars.
    """
    entry = StoreEntry(prediction.entry)
    canvas, pictures = _chart(entry, prediction, title, top), _pictures(entry)

    def draw(number: int) -> Image.Image:
        drawn, x = canvas.copy(), MARGIN
        for picture in pictures(number):
            drawn.paste(picture, (x, MARGIN + LINE))
            x += picture.width + MARGIN
        return drawn

    count = entry.num_flows or entry.num_frames
    if path.suffix.lower() == ".png":
        write_png(path, draw(count // 2))
    else:
        fps = entry.header["fps"] or DEFAULT_FPS
        step = ceil(fps / GIF_FPS) if path.suffix.lower() == ".gif" else 1
        FILMS[path.suffix.lower()](path, map(draw, range(0, count, step)), fps=fps / step)


def _pictures(entry: StoreEntry) -> Callable[[int], list[Image.Image]]:
    """Number of a frame -> what is shown of it: itself, and its flow if there is some.

    The scale of the colours is that of the whole video.
    """

    def scaled(picture: np.ndarray) -> Image.Image:
        return Image.fromarray(resize(picture, _shown_size(*picture.shape[:2])))

    if not entry.num_flows:
        return lambda number: [scaled(entry.read_rgb([number])[0])]
    clip = stored_clip(entry.path)
    step = ceil(clip.num_flows / SCALE_PAIRS)
    largest = speed_scale(flow for _, flow in clip.read(range(0, clip.num_flows, step)))
    wheel = Image.fromarray(wheel_picture(WHEEL_SIZE))  # which colour is which direction

    def frame_and_flow(number: int) -> list[Image.Image]:
        ((frame, flow),) = clip.read([number])
        picture = scaled(flow_to_rgb(flow, max_speed=largest))
        width, height = picture.size
        picture.paste(wheel, (width - WHEEL_SIZE - 4, height - WHEEL_SIZE - 4))
        outline = (0, 0, width - 1, height - 1)  # where nothing moves the flow is white
        ImageDraw.Draw(picture).rectangle(outline, outline=OUTLINE)
        return [scaled(frame), picture]

    return frame_and_flow


def _chart(entry: StoreEntry, prediction: Prediction, title: str, top: int) -> Image.Image:
    """What stays the same from frame to frame: title, legend and bars, and room for pictures."""
    pictures = 2 if entry.num_flows else 1
    width = max(LEAST_WIDTH, MARGIN + pictures * (_shown_size(*entry.size)[0] + MARGIN))
    order = np.argsort(-prediction.fused, kind="stable")[:top]
    below = MARGIN + LINE + PICTURE_HEIGHT + MARGIN
    canvas = Image.new("RGB", (width, below + LINE + len(order) * ROW_HEIGHT + MARGIN), "white")
    pen = ImageDraw.Draw(canvas)
    pen.font = ImageFont.load_default(TEXT_SIZE)
    pen.text((MARGIN, MARGIN - 4), title, "black")
    if len(prediction.streams) > 1:
        x = MARGIN + LABEL_WIDTH
        for name, color in zip(("fused", *prediction.streams), COLORS, strict=False):
            pen.rectangle((x, below + 5, x + 10, below + 15), fill=color)
            pen.text((x + 16, below), name, "black")
            x += 36 + round(pen.textlength(name))
    sources = [prediction.fused, *prediction.streams.values()]
    for row, index in enumerate(order):
        probs = [float(source[index]) for source in (sources if len(sources) > 2 else sources[:1])]
        _draw_row(pen, below + LINE + row * ROW_HEIGHT, prediction.class_names[index], probs, width)
    return canvas


def _draw_row(
    pen: ImageDraw.ImageDraw, y: int, name: str, probs: Sequence[float], width: int
) -> None:
    """A class: its name, the fused bar above thin ones of the streams, and the fused percentage."""
    left, right = MARGIN + LABEL_WIDTH, width - MARGIN - PERCENT_WIDTH
    while pen.textlength(name) > LABEL_WIDTH - MARGIN:
        name = f"{name.rstrip('.')[:-1]}..."
    pen.text((MARGIN, y - 2), name, "black")
    pen.text((right + 8, y - 2), f"{probs[0]:.1%}", "black")
    for number, (prob, color) in enumerate(zip(probs, COLORS, strict=False)):
        height = THIN_HEIGHT if number else BAR_HEIGHT
        pen.rectangle((left, y, right - 1, y + height - 1), fill=GREY)
        if (length := round(prob * (right - left))) > 0:
            pen.rectangle((left, y, left + length - 1, y + height - 1), fill=color)
        y += height + 1


def _shown_size(height: int, width: int) -> tuple[int, int]:
    return round(PICTURE_HEIGHT * width / height), PICTURE_HEIGHT
