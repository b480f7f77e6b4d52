"""Pictures of optical flow beside the frames it was computed from, with a legend."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flow_extract.display.color_wheel import flow_colors, wheel_picture
from flow_extract.methods.pairwise import ClipMethod
from flow_extract.store.quantize import dequantize
from flow_extract.store.reader import StoreEntry
from flow_extract.store.settings import clip_flow
from flow_extract.video.decode import VideoError, probe, read_frames, resize
from twostream_base.errors import InputError
from twostream_base.files import atomic_path

if TYPE_CHECKING:
    from PIL.Image import Image


# A scale ends at one of these numbers, times a power of ten.
ROUND_NUMBERS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
# Share of the vectors, in percent, that the scale covers.
COVERED = 99.5
# Pairs of a film from which the scale is found.
SCALE_PAIRS = 20
DEFAULT_FPS = 25.0


class Clip(NamedTuple):
    """Something whose flow can be shown.

    Attributes:
        title: for people.
        fps: frames per second.
        num_flows: pairs; pair t leads from frame t to t + 1.
        read: rising numbers of pairs -> one (frame uint8 (H, W, 3), flow float32 (H, W, 2)) each.
    """

    title: str
    fps: float
    num_flows: int
    read: Callable[[Sequence[int]], Iterator[tuple[np.ndarray, np.ndarray]]]


def stored_clip(path: Path) -> Clip:
    """The clip in a store file."""
    entry = StoreEntry(path)
    bound = entry.header["quantiser"]["bound"]

    def read(pairs: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for pair in pairs:
            levels = entry.read_flow(pair, 1)[0]
            yield entry.read_rgb([pair])[0], dequantize(levels, bound=bound)

    title = f"{entry.header['name']}, flow by {entry.header['method']['name']}"
    return Clip(title, entry.header["fps"] or DEFAULT_FPS, entry.num_flows, read)


def video_clip(path: Path, method: ClipMethod, *, method_name: str) -> Clip:
    """The clip in a video file, its flow computed when it is read.

    Raises:
        VideoError: it cannot be read as a video.
    """
    num_frames = sum(1 for _ in read_frames(path))

    def read(pairs: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        wanted = set(pairs)
        for number, frames in enumerate(pairwise(read_frames(path))):
            if number in wanted:
                yield frames[0], clip_flow(method, np.stack(frames))[0]

    fps = probe(path).fps or DEFAULT_FPS
    return Clip(f"{path.stem}, flow by {method_name}", fps, num_frames - 1, read)


def choose_pairs(text: str | None, *, num_flows: int, default: int | None) -> list[int]:
    """Numbers of pairs: `3,10,20`, `10:50` (without 50), `10:50:5`, or both joined by commas.

    Without text: `default` of them, evenly spread; or all if that is None.

    Raises:
        InputError: no such numbers, or there is no flow.
    """
    if num_flows < 1:
        raise InputError("the video has less than two frames, so no flow to show")
    if text is None:
        count = num_flows if default is None else min(default, num_flows)
        # The middle of each of `count` equal parts.
        return [(2 * part + 1) * num_flows // (2 * count) for part in range(count)]
    pairs: set[int] = set()
    for part in text.split(","):
        try:
            bounds = [int(number) if number else None for number in part.split(":")]
            chosen = range(num_flows)[slice(*bounds)] if ":" in part else [int(part)]
        except (ValueError, TypeError):
            raise InputError(f"--frames {part!r} is neither a number nor START:STOP") from None
        pairs |= set(chosen)
    if not pairs or min(pairs) < 0 or max(pairs) >= num_flows:
        raise InputError(f"--frames {text}: there is flow from frames 0 to {num_flows - 1}")
    return sorted(pairs)


def scale_end(flows: Iterable[np.ndarray]) -> float:
    """A round speed, in pixels per frame, that all but the fastest few vectors stay below."""
    speeds = [np.percentile(np.hypot(flow[..., 0], flow[..., 1]), COVERED) for flow in flows]
    fastest = max(speeds)
    if fastest < 0.01:
        return 1.0
    power = 10.0 ** np.floor(np.log10(fastest))
    return float(next(number * power for number in ROUND_NUMBERS if fastest <= number * power))


def draw_clip(clip: Clip, pairs: Sequence[int], out: Path) -> float:
    """Write a picture of these pairs (PNG), or a film of them (GIF, MP4); return `scale_end`.

    Raises:
        InputError: another suffix.
    """
    suffix = out.suffix.lower()
    if suffix not in (".png", *FILMS):
        raise InputError(f"{out}: write a .png, {' or '.join(FILMS)}")
    some = pairs[:: math.ceil(len(pairs) / SCALE_PAIRS)]
    largest = scale_end(flow for _, flow in clip.read(some))
    rows = ((pair, *shown) for pair, shown in zip(pairs, clip.read(pairs), strict=True))
    if suffix == ".png":
        write_png(out, draw(list(rows), title=clip.title, largest=largest))
    else:
        films = (draw([row], title=clip.title, largest=largest) for row in rows)
        FILMS[suffix](out, films, fps=clip.fps)
    return largest


def write_png(path: Path, picture: Image) -> None:
    """Write one picture."""
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def write_gif(path: Path, pictures: Iterable[Image], *, fps: float) -> None:
    """Write pictures as an endless GIF; its clock knows hundredths of a second only."""
    first, *others = map(_with_palette, pictures)
    with atomic_path(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=max(20, round(100 / fps) * 10),
            loop=0,
        )


def write_mp4(path: Path, pictures: Iterable[Image], *, fps: float) -> None:
    """Write pictures as an MP4 (MPEG-4 part 2), and read it again to see that it is whole.

    Raises:
        InputError: this build of OpenCV cannot write it.
    """
    import cv2

    written, writer = 0, None
    with atomic_path(path) as temporary:
        unfinished = temporary.with_name(f"{temporary.name}.mp4")  # OpenCV goes by the suffix
        try:
            for picture in pictures:
                frame = _even(np.asarray(picture)[..., ::-1])
                if writer is None:
                    code = cv2.VideoWriter.fourcc(*"mp4v")
                    writer = cv2.VideoWriter(str(unfinished), code, fps, frame.shape[1::-1])
                writer.write(frame)
                written += 1
            if writer is not None:
                writer.release()
            if _count_frames(unfinished) != written:
                raise InputError(f"{path}: OpenCV cannot write MP4 here; choose a .gif")
            os.replace(unfinished, temporary)
        finally:
            unfinished.unlink(missing_ok=True)


def _with_palette(picture: Image) -> Image:
    """256 colours; this way of choosing them keeps the colour wheel whole.

    Not dithered: the grain would make the file half as large again.
    """
    from PIL import Image

    palette = picture.quantize(256, method=Image.Quantize.FASTOCTREE)
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _count_frames(path: Path) -> int:
    try:
        return sum(1 for _ in read_frames(path))
    except VideoError:
        return 0


def _even(frame: np.ndarray) -> np.ndarray:
    """Cut to an even height and width, which MPEG-4 needs."""
    height, width = frame.shape[:2]
    return np.ascontiguousarray(frame[: height - height % 2, : width - width % 2])


FILMS = {".gif": write_gif, ".mp4": write_mp4}


# One picture: rows of a frame beside its flow in colours, and the legend of these colours.
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
