"""Pictures and films of optical flow next to its frames, with a legend."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flow_extract.display.color_wheel import flow_to_rgb, speed_scale, wheel_picture
from flow_extract.methods.pairwise import ClipMethod
from flow_extract.store.codecs import dequantize
from flow_extract.store.reader import StoreEntry
from flow_extract.video.decode import probe, read_frames
from flow_extract.video.frames import VideoError, repeats, resize
from twostream_base.errors import InputError
from twostream_base.files import atomic_path
from twostream_base.video_names import without_suffix

# Pairs of a film from which the scale is found.
SCALE_PAIRS = 20
# Pairs around a still one among which one that moves is looked for.
NEIGHBOURS = 100
DEFAULT_FPS = 25.0
PICTURE_HEIGHT = 240
WHEEL_SIZE = 120
MARGIN, LINE, TEXT_SIZE = 12, 24, 15
GREY = (200, 200, 200)
LEGEND_WIDTH, LEGEND_HEIGHT = 150, 290


class FlowClip(NamedTuple):
    """Something whose flow can be shown."""

    title: str
    fps: float
    num_flows: int  # pair t leads from frame t to t + 1
    # Rising numbers of pairs -> one (frame uint8 (H, W, 3), flow float32 (H, W, 2)) each.
    read: Callable[[Sequence[int]], Iterator[tuple[np.ndarray, np.ndarray]]]
    moves: Callable[[int], bool]  # whether the second frame is another than the first (`repeats`)


def stored_clip(path: Path) -> FlowClip:
    """The clip in a store file.

    Raises:
        InputError: it has frames alone.
    """
    entry = StoreEntry(path)
    if entry.header["method"] is None:
        raise InputError(
            f"{path}: it has frames alone, no flow; `twostream extract-flow --method dis` adds it"
        )
    bound = entry.header["quantiser"]["bound"]

    def read(pairs: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for pair in pairs:
            levels = entry.read_flow(pair, 1)[0]
            yield entry.read_rgb([pair])[0], dequantize(levels, bound=bound)

    def moves(pair: int) -> bool:
        first, second = entry.read_rgb([pair, pair + 1])
        return not repeats(second, first)

    method = entry.header["method"]
    title = f"{entry.header['name']}, flow by {method['name']}"
    return FlowClip(title, entry.header["fps"] or DEFAULT_FPS, entry.num_flows, read, moves)


def video_clip(path: Path, method: ClipMethod, *, method_name: str) -> FlowClip:
    """The clip in a video file or folder of pictures, its flow computed when it is read.

    Raises:
        VideoError: it cannot be read as a video.
    """
    moving = [not repeats(second, first) for first, second in pairwise(read_frames(path))]

    def read(pairs: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        numbers = set(pairs)
        for number, frames in enumerate(pairwise(read_frames(path))):
            if number in numbers:
                yield frames[0], method(np.stack(frames))[0]

    fps = probe(path).fps or DEFAULT_FPS
    title = f"{without_suffix(path.absolute().name)}, flow by {method_name}"
    return FlowClip(title, fps, len(moving), read, moving.__getitem__)


def choose_pairs(clip: FlowClip, text: str | None, *, default: int | None) -> list[int]:
    """Numbers of pairs: `3,10,20`, `10:50` (without 50), `10:50:5`, or both joined by commas.

    Without text: `default` of them, evenly spread, where something moves; or all if that is None.

    Raises:
        InputError: no such numbers, or there is no flow.
    """
    num_flows = clip.num_flows
    if num_flows < 1:
        raise InputError("the video has fewer than two frames, so no flow to show")
    if text is None:
        if default is None or num_flows <= default:
            return list(range(num_flows))
        chosen = []
        for row in range(default):
            middle = (2 * row + 1) * num_flows // (2 * default)
            within = range(row * num_flows // default, (row + 1) * num_flows // default)
            nearest = sorted(within, key=lambda pair: abs(pair - middle))[:NEIGHBOURS]
            chosen.append(next(filter(clip.moves, nearest), middle))
        return chosen
    pairs: set[int] = set()
    for part in text.split(","):
        try:
            bounds = [int(number) if number else None for number in part.split(":")]
            pairs |= set(range(num_flows)[slice(*bounds)]) if ":" in part else {int(part)}
        except (ValueError, TypeError):
            raise InputError(f"--frames {part!r} is neither a number nor START:STOP") from None
    if not pairs or min(pairs) < 0 or max(pairs) >= num_flows:
        raise InputError(f"--frames {text}: there is flow from frames 0 to {num_flows - 1}")
    return sorted(pairs)


def draw_clip(clip: FlowClip, pairs: Sequence[int], out: Path) -> float:
    """Write a picture of these pairs (PNG), or a film of them (GIF, MP4); return the `speed_scale`.

    Raises:
        InputError: another suffix.
    """
    suffix = out.suffix.lower()
    if suffix not in (".png", *FILMS):
        raise InputError(f"{out}: write a .png, {' or '.join(FILMS)}")
    some = pairs[:: math.ceil(len(pairs) / SCALE_PAIRS)]
    largest = speed_scale(flow for _, flow in clip.read(some))
    rows = ((pair, *shown) for pair, shown in zip(pairs, clip.read(pairs), strict=True))
    if suffix == ".png":
        write_png(out, draw(list(rows), title=clip.title, largest=largest))
    else:
        films = (draw([row], title=clip.title, largest=largest) for row in rows)
        FILMS[suffix](out, films, fps=clip.fps)
    return largest


def small_pictures(path: Path, *, width: int = 160) -> tuple[bytes, bytes | None]:
    """The frame in the middle of a stored video and its flow as colours, as JPEG files.

    Args:
        path: the store file. width: of the pictures, in pixels.

    Returns:
        frame and flow; no flow of a video that has frames alone.

    Raises:
        InputError: the file is damaged, or no store file.
    """
    entry = StoreEntry(path)
    pair = max(0, (entry.num_frames - 1) // 2)

    def encoded(picture: np.ndarray) -> bytes:
        height = max(1, round(picture.shape[0] * width / picture.shape[1]))
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])
        return data.tobytes()

    frame = encoded(entry.read_rgb([pair])[0])
    if entry.header["method"] is None or pair >= entry.num_flows:
        return frame, None
    bound = entry.header["quantiser"]["bound"]
    return frame, encoded(flow_to_rgb(dequantize(entry.read_flow(pair, 1)[0], bound=bound)))


def write_png(path: Path, picture: Image.Image) -> None:
    """Write one picture."""
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def write_gif(path: Path, pictures: Iterable[Image.Image], *, fps: float) -> None:
    """Write pictures as an endless GIF; its clock knows hundredths of a second only."""
    # This way of choosing 256 colours keeps the colour wheel whole. Not dithered: the grain would
    # make the file half as large again.
    first, *others = (
        picture.quantize(
            palette=picture.quantize(256, method=Image.Quantize.FASTOCTREE),
            dither=Image.Dither.NONE,
        )
        for picture in pictures
    )
    with atomic_path(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=max(20, round(100 / fps) * 10),
            loop=0,
        )


def write_mp4(path: Path, pictures: Iterable[Image.Image], *, fps: float) -> None:
    """Write pictures as an MP4 (MPEG-4 part 2, which needs even sides), and read it to check it.

    Raises:
        InputError: this build of OpenCV cannot write it.
    """
    written, writer = 0, None
    with atomic_path(path) as temporary:
        unfinished = temporary.with_name(f"{temporary.name}.mp4")  # OpenCV goes by the suffix
        try:
            for picture in pictures:
                height, width = (side - side % 2 for side in (picture.height, picture.width))
                frame = np.ascontiguousarray(np.asarray(picture)[:height, :width, ::-1])
                if writer is None:
                    code = cv2.VideoWriter.fourcc(*"mp4v")
                    writer = cv2.VideoWriter(str(unfinished), code, fps, frame.shape[1::-1])
                writer.write(frame)
                written += 1
            if writer is not None:
                writer.release()
            try:
                whole = sum(1 for _ in read_frames(unfinished)) == written
            except VideoError:
                whole = False
            if not whole:
                raise InputError(f"{path}: OpenCV cannot write MP4 here; choose a .gif")
            os.replace(unfinished, temporary)
        finally:
            unfinished.unlink(missing_ok=True)


def draw(
    rows: Sequence[tuple[int, np.ndarray, np.ndarray]], *, title: str, largest: float
) -> Image.Image:
    """A picture with a row for each (number of the pair, frame, flow), and the legend.

    Args:
        rows: frames uint8 (H, W, 3), flow float (H, W, 2), all of one size.
        largest: speed at the end of the scale, pixels per frame.
    """
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
        for x, picture in ((left, frame), (right, flow_to_rgb(flow, max_speed=largest))):
            canvas.paste(Image.fromarray(resize(picture, size)), (x, top + LINE))
        frame_line = (right - 1, top + LINE - 1, right + size[0], top + LINE + size[1])
        pen.rectangle(frame_line, outline=GREY)
        top += row_height
    top = MARGIN + 2 * LINE
    canvas.paste(Image.fromarray(wheel_picture(WHEEL_SIZE)), (legend, top))
    lines = ("hue: direction", "white: still", f"rim: {largest:g} px per frame", "faster: darker")
    for number, line in enumerate(lines):
        below = top + WHEEL_SIZE + MARGIN // 2 + number * LINE
        pen.text((legend, below), line, "black", font)
    return canvas


FILMS = {".gif": write_gif, ".mp4": write_mp4}
