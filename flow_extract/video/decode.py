"""Decoding videos: what a file promises, and its frames one by one."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

# Silences FFmpeg, which reads this when a process first uses it; our messages say what is wrong.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

MAX_PIXELS = 8192 * 8192
# About four days at 30 frames per second; a container that promises more is not to be believed.
MAX_PROMISED_FRAMES = 10_000_000
# How files begin that say how many frames they hold: AVI, and at byte 4 the first box of MP4 and
# MOV. Of others (Matroska, WebM, MPEG streams) FFmpeg tells length times frame rate.
AVI = b"RIFF"
MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
# Playlists: of FFmpeg's concat, HLS, DASH, IMF, session descriptions of streams.
PLAYLIST_BYTES = 4096
PLAYLIST_MARKS = (b"ffconcat version", b"#extm3u", b"<mpd", b"<compositionplaylist", b"c=in ip")
BINARY = frozenset(range(32)) - frozenset(b"\t\n\r\f\x1b")  # bytes that no text has


class VideoError(Exception):
    """A video that gives no frames; the message is the reason, without the file's name."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a container says about its video, before anything is decoded.

    Attributes:
        width: pixels as displayed, after any rotation tag.
        height: the same.
        fps: frames per second; None if unknown.
        promised_frames: None if unknown, or if the claim makes no sense (0, negative, huge).
        estimated: whether the container only knows its length in seconds, which makes the promise
            an estimate: off by a frame or so even where nothing is wrong.
        codec: four characters, such as `h264`.
    """

    width: int
    height: int
    fps: float | None
    promised_frames: int | None
    estimated: bool
    codec: str

    def lacks(self, frames: int) -> bool:
        """Whether `frames` are fewer than promised; an estimate may be missed by 1 or by 0.5 %."""
        if self.promised_frames is None:
            return False
        tolerance = max(1, self.promised_frames // 200) if self.estimated else 0
        return frames < self.promised_frames - tolerance


def probe(path: str | PathLike[str]) -> VideoInfo:
    """Read a video's header.

    Raises:
        VideoError: as `open_video`.
    """
    with open_video(path) as (info, _):
        return info


def read_frames(
    path: str | PathLike[str], *, short_side: int | None = None
) -> Iterator[np.ndarray]:
    """Decode a video frame by frame: uint8 (H, W, 3) RGB, upright.

    Args:
        path: the video file.
        short_side: resize so that the shorter side has this many pixels (see `scaled_size`).

    Raises:
        VideoError: as `open_video` and its frames.
    """
    with open_video(path, short_side=short_side) as (_, frames):
        yield from frames


@contextmanager
def open_video(
    path: str | PathLike[str], *, short_side: int | None = None
) -> Iterator[tuple[VideoInfo, Iterator[np.ndarray]]]:
    """Open a video: its header, and its frames as in `read_frames`.

    Raises:
        VideoError: not a regular file, empty, a playlist, not readable as a video, or more than
            `MAX_PIXELS` pixels a frame (found before a frame is decoded). From the frames: none
            could be decoded; or the picture size changes midway.
    """
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise VideoError("not a regular file")
        with path.open("rb") as stream:
            beginning = _beginning(stream)
    except OSError as error:
        raise VideoError(f"cannot be read: {error.strerror}") from error
    if status.st_size == 0:
        raise VideoError("the file is empty (0 bytes)")
    if _is_playlist(beginning):
        raise VideoError(
            "not readable as a video: it is text, as a playlist is, which shows other files"
        )

    # An absolute path can be no URL to FFmpeg; the back end is named so that none reads a pattern.
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        if not capture.isOpened():
            raise VideoError("not readable as a video: damaged, without a video stream, or unknown")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        info = _read_info(
            capture, stores_its_count=beginning[:4] == AVI or beginning[4:8] in MP4_BOXES
        )

        def frames() -> Iterator[np.ndarray]:
            size = None if short_side is None else scaled_size(info.width, info.height, short_side)
            shape = None
            while (frame := capture.read()[1]) is not None:
                if frame.shape != (shape or frame.shape):
                    raise VideoError(f"the picture size changes midway: {shape}, {frame.shape}")
                shape = frame.shape
                rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                yield rgb if size is None else resize(rgb, size)
            if shape is None:
                raise VideoError(f"no frame can be decoded (codec {info.codec})")

        yield info, frames()
    finally:
        capture.release()


def _beginning(stream: IO[bytes]) -> bytes:
    """What FFmpeg takes for the beginning of a file: it first skips ID3 tags, of any length."""
    while (head := stream.read(10))[:3] == b"ID3" and len(head) == 10:
        length = functools.reduce(lambda value, byte: value << 7 | byte & 0x7F, head[6:], 0)
        stream.seek(length + 10 * bool(head[5] & 0x10), os.SEEK_CUR)
    return head + stream.read(PLAYLIST_BYTES)


def _is_playlist(beginning: bytes) -> bool:
    """Whether a file is text: FFmpeg follows playlists, whatever their names, to other files.

    Films are binary, but for the first line of raw Y4M. Marks that FFmpeg looks for are also
    searched among other bytes.
    """
    if beginning.startswith(b"YUV4MPEG2 "):
        return False
    text = set(beginning).isdisjoint(BINARY)
    return text or any(mark in beginning.lower() for mark in PLAYLIST_MARKS)


def scaled_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Width and height with the shorter side at `short_side` and the aspect ratio kept.

    The longer side is rounded to the nearest whole number, a half to the even one (Python's
    `round`): 320 x 240 at 112 gives 149 x 112.
    """
    scale = short_side / min(width, height)
    return round(width * scale), round(height * scale)


def resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to (width, height): by area averaging when smaller (no aliasing), else bilinearly."""
    import cv2

    if frame.shape[1::-1] == size:
        return frame
    shrinks = size[0] < frame.shape[1]
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _read_info(capture: Any, *, stores_its_count: bool) -> VideoInfo:
    import cv2

    width, height = (
        int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    if width < 1 or height < 1:
        raise VideoError(f"no usable picture size in its header ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise VideoError(f"{width} x {height} pixels a frame; at most {MAX_PIXELS:,} are read")
    fps = capture.get(cv2.CAP_PROP_FPS)
    promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    return VideoInfo(
        width=width,
        height=height,
        fps=fps if 0 < fps < 1e6 else None,
        promised_frames=int(promised) if 1 <= promised <= MAX_PROMISED_FRAMES else None,
        estimated=not stores_its_count,
        codec=code.to_bytes(4, "little").decode("latin-1"),
    )
