"""One picture: rows of a frame beside its flow in colours, and the legend of these colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from flow_extract.color_wheel import flow_colors, wheel_picture
from flow_extract.video import resize

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE_HEIGHT = 240
WHEEL_SIZE = 120
MARGIN, LINE, TEXT_SIZE = 12, 24, 15
GREY = (200, 200, 200)
LEGEND_WIDTH, LEGEND_HEIGHT = 150, 290


def draw(
    rows: Sequence[tuple[int, np.ndarray, np.ndarray]], *, title: str, largest: float
) -> Image:
    """A picture with a row for each (number of the pair, frame, flow), and the legend.

    Args:
        rows: frames uint8 (H, W, 3), flow float (H, W, 2), all of one size.
        title: line at the top.
        largest: speed at the end of the scale, pixels per frame.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = rows[0][1].shape[:2]
    size = round(PICTURE_HEIGHT * width / height), PICTURE_HEIGHT
    left, right = MARGIN, 2 * MARGIN + size[0]
    legend = right + size[0] + MARGIN
    top = MARGIN + LINE
    row_height = LINE + size[1] + MARGIN
    total = (legend + LEGEND_WIDTH + MARGIN, top + max(len(rows) * row_height, LEGEND_HEIGHT))
    canvas = Image.new("RGB", total, "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(TEXT_SIZE)
    pen.text((left, MARGIN), title, "black", font)
    for number, frame, flow in rows:
        pen.text((left, top), f"frame {number}", "black", font)
        pen.text((right, top), f"flow from frame {number} to {number + 1}", "black", font)
        for x, picture in ((left, frame), (right, flow_colors(flow, largest=largest))):
            canvas.paste(Image.fromarray(resize(picture, size)), (x, top + LINE))
        frame_line = (right - 1, top + LINE - 1, right + size[0], top + LINE + size[1])
        pen.rectangle(frame_line, outline=GREY)
        top += row_height
    _draw_legend(canvas, (legend, MARGIN + 2 * LINE), largest=largest)
    return canvas


def _draw_legend(canvas: Image, place: tuple[int, int], *, largest: float) -> None:
    from PIL import Image, ImageDraw, ImageFont

    x, y = place
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(TEXT_SIZE)
    canvas.paste(Image.fromarray(wheel_picture(WHEEL_SIZE)), (x, y))
    lines = ("hue: direction", "white: still", f"rim: {largest:g} px per frame", "faster: darker")
    for number, line in enumerate(lines):
        pen.text((x, y + WHEEL_SIZE + MARGIN // 2 + number * LINE), line, "black", font)
